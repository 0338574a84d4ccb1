//! Opens a socket to one of an endpoint's addresses: both families in turn, the next before a silent one has used up
//! the time (happy eyeballs, RFC 8305).
//!
//! `upstream::connect` calls it with the addresses that are left. It must never leave an attempt running behind the
//! one that won, nor try more at a time than there are addresses.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::config::limits::{CONNECT_ADDRESSES, CONNECT_STAGGER};
use crate::upstream::connect::ConnectError;
use crate::upstream::descriptors::leaves_reserve;
use crate::upstream::shunned::Shunned;

/// The order in which addresses are tried: the families alternate, that of the first address first; each family
/// begins at its place `turn`, so that connections spread over several addresses. At most [`CONNECT_ADDRESSES`].
pub fn order(addresses: &[SocketAddr], turn: usize) -> VecDeque<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let family = |v6: bool| {
        let count = addresses.iter().filter(|address| address.is_ipv6() == v6).count();
        let of_family = addresses.iter().filter(move |address| address.is_ipv6() == v6);
        of_family.cycle().skip(turn.checked_rem(count).unwrap_or(0)).take(count).copied()
    };
    let (mut first, mut second) = (family(preferred), family(!preferred));
    let mut ordered = VecDeque::with_capacity(addresses.len().min(CONNECT_ADDRESSES));
    while ordered.len() < CONNECT_ADDRESSES {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            break;
        }
        ordered.extend(pair.into_iter().flatten());
    }
    ordered.truncate(CONNECT_ADDRESSES);
    ordered
}

/// The first socket that connects, and where to. What failed and what won are no longer among the candidates then; what
/// failed, or was slower than what began after it, is shunned for a while.
///
/// # Errors
/// The last address's error, that there is no address, or that the deadline has passed.
pub async fn race(
    candidates: &mut VecDeque<SocketAddr>,
    deadline: Instant,
    shunned: &Shunned,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    if candidates.len() < 2 {
        let address = candidates.pop_front().ok_or(ConnectError::Unresolved)?;
        let connected = timeout_at(deadline, open(address)).await;
        let socket = connected.map_err(|_| ConnectError::Timeout)?.map_err(failed)?;
        return Ok((socket, address));
    }
    let mut waiting = candidates.clone();
    let mut attempts = JoinSet::new();
    let mut last = ConnectError::Unresolved;
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.spawn_local(async move { (address, open(address).await) });
        }
        let stagger = Instant::now() + CONNECT_STAGGER;
        let look = if waiting.is_empty() { deadline } else { stagger.min(deadline) };
        match timeout_at(look, attempts.join_next()).await {
            Ok(Some(Ok((address, outcome)))) => {
                let begun = candidates.iter().position(|candidate| *candidate == address).unwrap_or(0);
                let now = Instant::now().into_std();
                match outcome {
                    Ok(socket) => {
                        candidates.iter().take(begun).for_each(|slower| shunned.note(*slower, now));
                        candidates.retain(|candidate| *candidate != address);
                        return Ok((socket, address));
                    }
                    Err(error) => {
                        shunned.note(address, now);
                        candidates.retain(|candidate| *candidate != address);
                        last = failed(error);
                    }
                }
            }
            // Connecting doesn't panic, and nobody else ends these tasks.
            Ok(Some(Err(ended))) => last = failed(io::Error::other(ended)),
            Ok(None) => return Err(last),
            Err(_) if Instant::now() >= deadline => return Err(ConnectError::Timeout),
            Err(_) => {}
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    leaves_reserve(&socket)?;
    socket.connect(address).await
}

fn failed(error: io::Error) -> ConnectError {
    ConnectError::of_tcp(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn addresses(words: &str) -> Vec<SocketAddr> {
        let address = |word: &str| match word.strip_prefix('v') {
            Some(last) => SocketAddr::new(format!("2001:db8::{last}").parse().unwrap(), 443),
            None => SocketAddr::new(format!("192.0.2.{word}").parse().unwrap(), 443),
        };
        words.split_whitespace().map(address).collect()
    }

    #[test]
    fn families_alternate_from_the_preferred_one_and_each_turns() {
        for (given, turn, tried) in [
            ("", 0, ""),
            ("", 7, ""),
            ("1", 5, "1"),
            ("1 2 3", 0, "1 2 3"),
            ("1 2 3", 1, "2 3 1"),
            ("1 2 3", 5, "3 1 2"),
            ("v1 v2", 1, "v2 v1"),
            ("v1 1", 0, "v1 1"),
            ("v1 1", 1, "v1 1"),
            ("1 2 v1", 0, "1 v1 2"),
            ("1 2 v1", 1, "2 v1 1"),
            ("v1 v2 v3 1 2", 0, "v1 1 v2 2 v3"),
            ("v1 v2 v3 1 2", 1, "v2 2 v3 1 v1"),
            ("v1 1 2 3", usize::MAX, "v1 1 2 3"),
        ] {
            assert_eq!(order(&addresses(given), turn), addresses(tried), "{given} from {turn}");
        }
    }

    #[test]
    fn of_many_addresses_only_so_many_are_tried() {
        let many: Vec<String> = (1..=40).map(|last| format!("v{last} {last}")).collect();
        let tried = order(&addresses(&many.join(" ")), 3);
        assert_eq!(tried.len(), CONNECT_ADDRESSES);
        assert_eq!(tried.iter().filter(|address| address.is_ipv6()).count(), CONNECT_ADDRESSES / 2);
    }

    /// An address that answers nobody: its queue is full.
    struct Silent {
        address: SocketAddr,
        _queue: Vec<std::net::TcpStream>,
        _socket: socket2::Socket,
    }

    impl Silent {
        fn new() -> Self {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
            socket.listen(0).unwrap();
            let address = socket.local_addr().unwrap().as_socket().unwrap();
            let patience = Duration::from_millis(50);
            let connect = || std::net::TcpStream::connect_timeout(&address, patience).ok();
            Self { address, _queue: std::iter::from_fn(connect).collect(), _socket: socket }
        }
    }

    fn raced(
        candidates: VecDeque<SocketAddr>,
        limit: Duration,
    ) -> (Result<SocketAddr, ConnectError>, Duration) {
        raced_but(candidates, limit, &Shunned::default())
    }

    /// The same, those last that are shunned.
    fn raced_but(
        mut candidates: VecDeque<SocketAddr>,
        limit: Duration,
        shunned: &Shunned,
    ) -> (Result<SocketAddr, ConnectError>, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let began = Instant::now();
        shunned.put_last(&mut candidates, began.into_std());
        let race = race(&mut candidates, began + limit, shunned);
        let won = tokio::task::LocalSet::new().block_on(&runtime, race);
        (won.map(|(_, address)| address), began.elapsed())
    }

    #[test]
    fn an_address_that_never_answers_costs_a_quarter_of_a_second() {
        let silent = Silent::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (won, took) = raced([silent.address, address].into(), Duration::from_secs(5));
        assert_eq!(won.unwrap(), address);
        assert!((CONNECT_STAGGER..Duration::from_secs(2)).contains(&took), "{took:?}");
    }

    #[test]
    fn an_address_that_never_answers_costs_its_time_once() {
        let (silent, shunned) = (Silent::new(), Shunned::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_secs(5);
        let (_, first) = raced_but([silent.address, address].into(), limit, &shunned);
        let (won, again) = raced_but([silent.address, address].into(), limit, &shunned);
        assert_eq!(won.unwrap(), address);
        assert!(first >= CONNECT_STAGGER && again < CONNECT_STAGGER, "{first:?}, then {again:?}");
    }

    #[test]
    fn an_address_that_refuses_costs_nothing() {
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (won, took) = raced([refusing, address].into(), Duration::from_secs(5));
        assert_eq!(won.unwrap(), address);
        assert!(took < CONNECT_STAGGER, "{took:?}");
        assert!(matches!(
            raced([refusing, refusing].into(), Duration::from_secs(5)).0,
            Err(ConnectError::Tcp(_))
        ));
    }

    #[test]
    fn addresses_that_never_answer_cost_the_limit_and_no_more() {
        let (one, other) = (Silent::new(), Silent::new());
        let limit = Duration::from_millis(400);
        let (lost, took) = raced([one.address, other.address].into(), limit);
        assert!(matches!(lost, Err(ConnectError::Timeout)), "{lost:?}");
        assert!((limit..Duration::from_secs(2)).contains(&took), "{took:?}");
        assert!(matches!(raced(VecDeque::new(), limit).0, Err(ConnectError::Unresolved)));
    }
}
