//! Tests of `export`: every form that weights can be written in, and what must stay as it is.

use super::*;
use crate::config::load;
use crate::config::model::Config;

const BACKENDS: &str = "[server]\nhttp = \"127.0.0.1:0\"\n[backends.a]\nurl = \"http://a.example\"\n\
                        [backends.b]\nurl = \"http://b.example\"\n[backends.\"c.d\"]\nurl = \"http://c.example\"\n";

fn env(name: &str) -> Option<String> {
    (name == "ROUTE").then(|| "web".to_owned())
}

fn exported(text: &str, route: &str, weights: &[(&str, f64)], mode: Mode) -> String {
    let weights = weights.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect();
    export(text, &BTreeMap::from([(route.to_owned(), Exported { weights, mode })]), &env)
}

/// The weights of each route by name, as the text means them.
fn meaning(text: &str) -> BTreeMap<String, BTreeMap<String, f64>> {
    let config: Config = load(text, &env).unwrap_or_else(|problems| panic!("{problems:?}\n{text}")).config;
    let weights = |route: &crate::config::model::Route| {
        let named = route.backends.iter().enumerate();
        named
            .map(|(place, at)| (config.backends[at.0].name.to_string(), route.weights.ratio(place) * 100.0))
            .collect()
    };
    config.routes.iter().map(|route| (route.name.to_string(), weights(route))).collect()
}

#[test]
fn shares_are_replaced_in_the_form_they_have() {
    for (before, after) in [
        ("weights = { a = 95, b = 5 }  # ours", "weights = { a = 74.5, b = 25.5 }  # ours"),
        ("weights={a=0x5F,b=5.0}", "weights={a=74.5,b=25.5}"),
        ("weights = { b = 5 }", "weights = { a = 74.5, b = 25.5 }"),
        ("  weights.a = 95\n  weights.b = 5 # new", "  weights.a = 74.5\n  weights.b = 25.5 # new"),
        ("weights.b = 5", "weights.b = 25.5\nweights.a = 74.5"),
        (
            "sticky = \"cookie\"\n[routes.weights] # all\n# old\na = 95\n\nb = 5",
            "sticky = \"cookie\"\n[routes.weights] # all\n# old\na = 74.5\n\nb = 25.5",
        ),
        ("[routes.weights]\n\tb = 5 # x\r\n\r\n", "[routes.weights]\n\tb = 25.5 # x\r\n\ta = 74.5\r\n\r\n"),
        ("weights = { a = 74_5, b = 25_5 }", "weights = { a = 74_5, b = 25_5 }"),
    ] {
        let text =
            |middle: &str| format!("{BACKENDS}\n[[routes]]\n  name = \"web\"\n  stable = \"a\"\n{middle}");
        let found = exported(&text(before), "web", &[("a", 74.5), ("b", 25.5)], Mode::Open);
        assert_eq!(found, text(after));
        let expected = BTreeMap::from([("a".to_owned(), 74.5), ("b".to_owned(), 25.5)]);
        assert_eq!(meaning(&found)["web"], expected, "{found}");
    }
}

#[test]
fn routes_in_braces_stay_in_them() {
    for (before, after) in [
        ("stable = \"a\", weights = { a = 1, b = 1 }", "stable = \"a\", weights = { a = 90, b = 10 }"),
        ("stable = \"a\", weights.b = 1", "stable = \"a\", weights.b = 10, weights.a = 90"),
    ] {
        let text = |middle: &str| format!("routes = [{{ name = \"${{ROUTE}}\", {middle} }}]\n{BACKENDS}");
        let found = exported(&text(before), "web", &[("a", 90.0), ("b", 10.0)], Mode::Open);
        assert_eq!(found, text(after));
        assert_eq!(meaning(&found)["web"]["b"], 10.0);
        let shut = exported(&text(before), "web", &[("a", 50.0), ("b", 50.0)], Mode::Maintenance);
        assert!(shut.contains("name = \"${ROUTE}\", mode = \"maintenance\", stable"), "{shut}");
    }
}

#[test]
fn what_is_left_out_is_put_behind_the_name() {
    let text = format!("{BACKENDS}[[routes]]\r\n\tname = \"web\" # first\r\n\tstable = \"a\"\r\n");
    assert_eq!(exported(&text, "web", &[("a", 100.0)], Mode::Open), text, "it says so already");
    let found = exported(&text, "web", &[("a", 99.5), ("c.d", 0.5)], Mode::Maintenance);
    let lines = "# first\r\n\tweights = { a = 99.5, \"c.d\" = 0.5 }\r\n\tmode = \"maintenance\"\r\n\tstable";
    assert!(found.contains(lines), "{found}");
    let end = format!("{BACKENDS}[[routes]]\nstable = \"a\"\nname = \"web\"");
    let found = exported(&end, "web", &[("a", 0.0), ("b", 100.0)], Mode::Open);
    assert_eq!(found, format!("{end}\nweights = {{ a = 0, b = 100 }}"));
    assert_eq!(meaning(&found)["web"]["b"], 100.0);
}

#[test]
fn a_mode_is_replaced_where_it_stands() {
    let text =
        format!("{BACKENDS}[[routes]]\nname = \"web\"\nmode = 'maintenance' # deploy\nstable = \"a\"\n");
    let open = exported(&text, "web", &[("a", 100.0)], Mode::Open);
    assert_eq!(open, text.replace("'maintenance'", "\"open\""));
    assert_eq!(exported(&text, "web", &[("a", 100.0)], Mode::Maintenance), text);
}

#[test]
fn other_routes_and_what_is_said_otherwise_stay_byte_for_byte() {
    let text = format!(
        "# é\n{BACKENDS}[[routes]]\nname = \"web\"\nstable = \"a\"\nweights = {{ a = 3, b = 1 }}\n\
         [[routes]]\nname=\"api\"\npath = \"/api\"\nstable = \"a\"\nweights = {{ a = 1, b = 2 }} # thirds\n"
    );
    assert_eq!(exported(&text, "web", &[("a", 75.0), ("b", 25.0)], Mode::Open), text);
    assert_eq!(exported(&text, "api", &[("a", 33.3333), ("b", 66.6667)], Mode::Open), text);
    assert_eq!(exported(&text, "gone", &[("a", 100.0)], Mode::Open), text);
    assert_eq!(exported("[[routes", "web", &[("a", 100.0)], Mode::Open), "[[routes");
    let found = exported(&text, "api", &[("a", 100.0), ("b", 0.0)], Mode::Open);
    assert_eq!(found, text.replace("{ a = 1, b = 2 }", "{ a = 100, b = 0 }"));
}
