//! A configuration is taken, or every problem has a place in it; what is exported means the same again.

#![no_main]

use std::collections::BTreeMap;

use crossfade_fuzz::config::export::{Exported, export};
use crossfade_fuzz::config::model::Mode;
use crossfade_fuzz::config::{load, state_dir};
use libfuzzer_sys::Corpus;

libfuzzer_sys::fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    let env = |name: &str| (name == "SET").then(|| "set".to_owned());
    let dir = state_dir(text, &env);
    let lines = text.split('\n').count();
    let loaded = match load(text, &env) {
        Ok(loaded) => loaded,
        Err(problems) => {
            assert!(!problems.0.is_empty(), "a refusal has a reason");
            for problem in &problems.0 {
                assert!((1..=lines).contains(&problem.line) && problem.column > 0, "{problem:?}");
            }
            assert!(!problems.render("crossfade.toml", text, true).is_empty());
            assert_eq!(load(text, &env).err().map(|again| again.0), Some(problems.0), "the same each time");
            return Corpus::Keep;
        }
    };
    let config = &loaded.config;
    assert_eq!(config.state_dir.as_ref().map(|state| state.to_string_lossy().into_owned()), dir);
    let routes: BTreeMap<String, Exported> = config
        .routes
        .iter()
        .map(|route| {
            let named = |at: usize| config.backends[route.backends[at].0].name.to_string();
            let weights =
                (0..route.weights.len()).map(|at| (named(at), route.weights.ratio(at) * 100.0)).collect();
            (route.name.to_string(), Exported { weights, mode: Mode::Open })
        })
        .collect();
    let exported = export(text, &routes, &env);
    let again = load(&exported, &env).unwrap_or_else(|problems| panic!("{problems:?} in\n{exported}"));
    for (before, after) in config.routes.iter().zip(&again.config.routes) {
        assert_eq!((&before.name, &before.backends), (&after.name, &after.backends));
        let parts = before.weights.parts().iter().zip(after.weights.parts());
        assert!(parts.clone().all(|(a, b)| a.abs_diff(*b) <= 1), "{:?}", parts.collect::<Vec<_>>());
    }
    Corpus::Keep
});
