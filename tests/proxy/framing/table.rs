//! Tables of cases as text: what is sent, in a notation for bytes, and what must come of it.
//!
//! A group has a title (`== `), mostly a template (`> `, several lines are one text) with `@` for what its rows say,
//! and what is expected of them (`= `). A row (`- `) may expect something of its own behind ` => `. The notation:
//! `\r \n \t \0 \\`, `\s` for a space at an end, `\xHH`, and `\(N)` for the next byte N times. It must never know what
//! is sent to whom.

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Where it stands: file, line and group.
    pub(crate) name: String,
    /// The bytes, the row's in the place of the template's `@`.
    pub(crate) bytes: Vec<u8>,
    /// What is expected, item by item.
    pub(crate) expected: Vec<String>,
}

/// The cases of the tables, each given with its name.
pub(crate) fn read(tables: &[(&str, &str)]) -> Vec<Case> {
    tables.iter().flat_map(|(name, text)| cases(name, text)).collect()
}

/// What `text` in the notation stands for.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.chars();
    let mut times = 1;
    while let Some(char) = rest.next() {
        let byte = match (char, char == '\\') {
            (_, false) => char.to_string().into_bytes(),
            _ => match rest.next().unwrap_or_else(|| panic!("a lone backslash: {text}")) {
                'r' => vec![b'\r'],
                'n' => vec![b'\n'],
                't' => vec![b'\t'],
                '0' => vec![0],
                's' => vec![b' '],
                '\\' => vec![b'\\'],
                'x' => {
                    let digits: String = rest.by_ref().take(2).collect();
                    vec![u8::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("two digits: {text}"))]
                }
                '(' => {
                    let digits: String = rest.by_ref().take_while(|char| *char != ')').collect();
                    times = digits.parse().unwrap_or_else(|_| panic!("a number: {text}"));
                    continue;
                }
                other => panic!("\\{other} is nothing: {text}"),
            },
        };
        (0..std::mem::replace(&mut times, 1)).for_each(|_| out.extend_from_slice(&byte));
    }
    out
}

fn cases(table: &str, text: &str) -> Vec<Case> {
    let (mut title, mut template, mut usual) = (String::new(), None::<String>, String::new());
    let mut cases = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((mark, said)) = line.split_at_checked(2) else { continue };
        match mark {
            "==" => (title, template, usual) = (said.trim().to_owned(), None, String::new()),
            "> " => template.get_or_insert_default().push_str(said),
            "= " => said.clone_into(&mut usual),
            "- " => {
                let own = said.strip_prefix("=> ").map(|expected| ("", expected));
                let (variant, expected) = own.or(said.split_once(" => ")).unwrap_or((said, &usual));
                let whole = template.as_ref().map_or(variant.to_owned(), |template| {
                    assert!(template.matches('@').count() == 1, "one place for a row: {table}:{number}");
                    template.replace('@', variant)
                });
                let name = format!("{table}:{} ({title}) {variant:?}", number + 1);
                let expected = expected.split(" ; ").map(str::to_owned).collect();
                cases.push(Case { name, bytes: bytes(&whole), expected });
            }
            _ => assert!(line.starts_with('#') || line.is_empty(), "{table}:{}: {line}", number + 1),
        }
    }
    cases
}
