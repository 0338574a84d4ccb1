//! Every kind of problem: where it is, what is said, what to do.

use super::{BACKEND, ROUTE, SERVER, backend, env, route, server, top};
use crate::config::{Problem, Problems, load};

fn problems(text: &str) -> Problems {
    load(text, &env).expect_err(text)
}

/// The file that a row of the table means.
fn file(place: &str, lines: &str) -> String {
    let lines = lines.replace(" ⏎ ", "\n");
    match place {
        "server" => server(&lines),
        "backend" => backend(&lines),
        "route" => route(&lines),
        "top" => top(&lines),
        "http" => top("").replace("\"127.0.0.1:8080\"", &lines),
        "url" => backend("").replace("https://a.example", &lines),
        "urls" => backend("").replace("url = \"https://a.example\"", &format!("urls = {lines}")),
        "file" => {
            let whole = format!("{lines}\n").replace("SERVER\n", SERVER);
            whole.replace("BACKEND\n", BACKEND).replace("ROUTE\n", ROUTE)
        }
        _ => panic!("no such place: {place}"),
    }
}

#[test]
fn each_kind_has_its_line_caret_message_and_remedy() {
    let rows = include_str!("problems.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 2 * 100);
    for row in rows.chunks(2) {
        let (place, lines) = row[0].split_once(" | ").unwrap();
        let text = file(place, lines);
        let found = problems(&text);
        let shown = found.render("x.toml", &text, false);
        let [Problem { line, span, message, remedy, .. }] = &found.0[..] else {
            panic!("not one problem:\n{shown}");
        };
        let (wanted, advice) = row[1].rsplit_once(" | ").unwrap();
        assert_eq!(format!("  {line} | {} | {message}", &text[span.clone()]), wanted, "\n{shown}");
        assert!(remedy.contains(advice), "{advice:?} isn't in:\n{shown}");
    }
}

#[test]
fn a_file_with_nothing_in_it_is_never_used() {
    for text in ["", "\n \t\n", "# [server]\n# nothing yet\n", "\u{feff}"] {
        let found = problems(text);
        assert_eq!(found.0.len(), 1);
        assert_eq!((found.0[0].line, found.0[0].column), (1, 1));
        assert!(found.0[0].message.starts_with("the file is empty"), "{found}");
    }
}

#[test]
fn without_a_backend_each_name_is_a_problem_too() {
    let found = problems(&format!("{SERVER}{ROUTE}"));
    let messages: Vec<_> = found.0.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages, ["there is no backend: nothing could answer a request", "there is no backend `a`"]);
}

#[test]
fn no_message_tells_a_password() {
    for text in [top("").replace("127.0.0.1:8080", "${SECRET_URL}"), backend("host = \"${SECRET_URL}\"")] {
        assert!(!problems(&text).to_string().contains("secret"));
    }
    for url in ["https://me:secret@a.example", "me:secret@a.example", "${NOPE}://me:secret@a.example"] {
        let text = backend("").replace("https://a.example", url);
        let shown = problems(&text).render("x.toml", &text, false);
        assert!(shown.contains("@a.example") && !shown.contains("secret"), "{shown}");
    }
}

/// `"\u001b"` is a key like any other, and a message that showed it would draw on the terminal.
#[test]
fn no_name_of_the_file_stands_raw_in_a_message() {
    let file = r#"
        "\u001b" = 1
        [server]
        http = "127.0.0.1:0"
        "\u001b" = 1
        [backends."\u001b"]
        "\u001b" = 1
        [backends.b]
        url = "https://b.example"
        "\u001b".x = 1
        [[routes]]
        name = "\u001b"
        stable = "\u001bx"
        weights = { "\u001b" = "1", "\u001bb" = 1 }
        pin = { "\u001b" = 1 }
    "#;
    let found = problems(file);
    assert!(found.0.len() >= 10, "{found}");
    assert!(!found.to_string().contains('\u{1b}'), "{found:?}");
}

/// 88 MB of report came from such a file.
#[test]
fn a_report_does_not_grow_by_names_times_problems() {
    let backends: String = (0..500).map(|i| format!("b{i}.url = \"https://a{i}.example\"\n")).collect();
    let weights: String = (0..500).map(|i| format!("unknown{i} = 1\n")).collect();
    let text = format!("{SERVER}[backends]\n{backends}{ROUTE}[routes.weights]\n{weights}");
    let found = problems(&text);
    assert_eq!(found.0.len(), 501);
    let shown = found.render("x.toml", &text, true);
    assert!(shown.len() < 100_000 && shown.ends_with("... and 401 more problems\n"), "{}", shown.len());
    assert!(found.to_string().len() < 100_000);
}

#[test]
fn all_of_them_are_shown_at_once_with_line_caret_and_remedy() {
    let text = r#"[server]
htp = "0.0.0.0:8080"
workers = "4"

[backends.heroku]
url = "https://${APP}.herokuapp.com"
platform = "herku"

[[routes]]
name = "web"
stable = "heroku"
weights = { heroku = 95, fly = 5 }
"#;
    assert_eq!(problems(text).render("crossfade.toml", text, false), include_str!("several_problems.txt"));
}

#[test]
fn broken_toml_does_not_hide_what_is_wrong_before_it() {
    let text = format!(
        "[server]\nhttp = \":80\"\nworkers =\n{BACKEND}url2 = 1\n[[routes\nname = \"web\"\nstable = \"x\"\n"
    );
    let found = problems(&text);
    let lines: Vec<_> = found.0.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 3, 6, 7], "{}", found.render("x.toml", &text, false));
}
