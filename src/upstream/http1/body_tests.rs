//! Where bodies end, however they are cut.

use proptest::prelude::*;

use super::*;

/// Its data, its trailers, what is left behind it, and whether it has ended.
type Read = (Vec<u8>, Vec<String>, Vec<u8>, bool);

/// What a body gives where it comes in these pieces.
fn read(mut body: Body, pieces: &[&[u8]]) -> Result<Read, Malformed> {
    let (mut data, mut trailers, mut bytes) = (Vec::new(), Vec::new(), BytesMut::new());
    for piece in pieces {
        bytes.extend_from_slice(piece);
        loop {
            match body.next(&mut bytes)? {
                Next::Data(piece) => data.extend_from_slice(&piece),
                Next::Trailers(fields) => {
                    trailers = fields.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
                }
                Next::End | Next::More => break,
            }
        }
    }
    Ok((data, trailers, bytes.to_vec(), body.is_end()))
}

#[test]
fn a_body_ends_where_its_framing_says_however_it_is_cut() {
    let chunked: &[(&str, &str, &[&str])] = &[
        ("0\r\n\r\n", "", &[]),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", &[]),
        ("5 \r\nhello\r\n6;a=\"b\"\r\n world\r\n000\r\n\r\n", "hello world", &[]),
        ("A\r\n0123456789\r\n0\r\nX-Sum: 1\r\ny: 2\r\n\r\n", "0123456789", &["x-sum: \"1\"", "y: \"2\""]),
    ];
    for (whole, data, trailers) in chunked {
        let whole = [whole.as_bytes(), b"HTTP/1.1"].concat();
        for cut in 0..whole.len() {
            let (first, rest) = whole.split_at(cut);
            let (found, fields, left, ended) = read(Body::chunked(), &[first, rest]).unwrap();
            assert_eq!(
                (&found[..], &left[..], ended),
                (data.as_bytes(), &b"HTTP/1.1"[..], true),
                "cut at {cut}"
            );
            assert_eq!(fields, *trailers);
        }
    }
    let (data, _, left, ended) = read(Body::Length(5), &[b"hel", b"lo, HTTP"]).unwrap();
    assert_eq!((&data[..], &left[..], ended), (&b"hello"[..], &b", HTTP"[..], true));
}

#[test]
fn the_end_of_a_chunked_body_is_seen_with_its_last_data() {
    let mut body = Body::chunked();
    let mut bytes = BytesMut::from(&b"5\r\nhello\r\n0\r\n\r\n"[..]);
    assert_eq!(body.next(&mut bytes), Ok(Next::Data("hello".into())));
    assert!(body.is_end() && bytes.is_empty());
    // Trailers are still to be told.
    let (mut body, mut bytes) = (Body::chunked(), BytesMut::from(&b"1\r\nx\r\n0\r\na: b\r\n\r\n"[..]));
    assert_eq!(body.next(&mut bytes), Ok(Next::Data("x".into())));
    assert!(!body.is_end());
}

#[test]
fn what_can_be_read_in_two_ways_is_malformed() {
    let endless = format!("5;{}", "x".repeat(5000));
    let trailers = format!("0\r\na: {}", "x".repeat(17_000));
    for bytes in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "0\r\nno field\r\n\r\n",
        "0\r\na : b\r\n\r\n",
        &endless,
        &trailers,
    ] {
        assert!(read(Body::chunked(), &[bytes.as_bytes()]).is_err(), "{bytes:?}");
    }
}

#[test]
fn only_a_body_without_framing_ends_with_its_connection() {
    for (mut body, ends) in [
        (Body::UntilClose, true),
        (Body::Length(1), false),
        (Body::chunked(), false),
        (Body::Length(0), true),
    ] {
        assert_eq!(body.close(), ends, "{body:?}");
        assert_eq!(body.is_end(), ends);
    }
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic_and_none_are_made_up(
        pieces in proptest::collection::vec("[0-9a-f;\r\n :x]{0,12}", 0..8),
    ) {
        let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
        let sent: usize = pieces.iter().map(|piece| piece.len()).sum();
        if let Ok((data, _, left, _)) = read(Body::chunked(), &pieces) {
            prop_assert!(data.len() + left.len() <= sent);
        }
    }
}
