//! A configuration file for a test, put together from what the test is about.
//!
//! It must never set what a test doesn't ask for, but for free ports and one worker, on which order is fixed.

use super::backend::Backend;

/// What stands for the proxy's own directory until that is made.
pub(crate) const DIRECTORY: &str = "@DIRECTORY@";

/// The text of a configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    listen: Option<String>,
    server: String,
    backends: String,
    route: String,
    sections: String,
}

impl Config {
    /// Of one worker and one route, with no backend yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Of one backend called `only`.
    pub(crate) fn of(backend: &Backend) -> Self {
        Self::new().backend("only", &backend.url(), "")
    }

    /// Of one backend called `only` with these further keys.
    pub(crate) fn of_url(url: &str, keys: &str) -> Self {
        Self::new().backend("only", url, keys)
    }

    /// One more backend.
    pub(crate) fn backend(mut self, name: &str, url: &str, keys: &str) -> Self {
        self.backends += &format!("[backends.{name}]\nurl = \"{url}\"\n{keys}\n");
        self
    }

    /// Further keys of `[server]`.
    pub(crate) fn server(mut self, keys: &str) -> Self {
        self.server += keys;
        self.server += "\n";
        self
    }

    /// Instead of a free port of TCP, but for metrics.
    pub(crate) fn listening(mut self, http: &str) -> Self {
        self.listen = Some(http.to_owned());
        self
    }

    /// The keys of the route; without them everything goes to `only`.
    pub(crate) fn route(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.route);
        self
    }

    /// With a state directory, `state` in the directory of the proxy.
    pub(crate) fn kept(self) -> Self {
        self.section(&format!("[state]\ndir = \"{DIRECTORY}/state\""))
    }

    /// Any other section.
    pub(crate) fn section(mut self, text: &str) -> Self {
        self.sections += text;
        self.sections += "\n";
        self
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        let workers = if self.server.contains("workers") { "" } else { "workers = 1\n" };
        let route = if self.route.is_empty() { "stable = \"only\"" } else { &self.route };
        let http = self.listen.as_deref().unwrap_or("http = \"127.0.0.1:0\"");
        let listen = format!("{http}\nmetrics = \"127.0.0.1:0\"");
        let Self { server, backends, sections, .. } = self;
        format!(
            "[server]\n{listen}\n{workers}{server}\n{sections}\n{backends}\n[[routes]]\nname = \"web\"\n{route}\n"
        )
    }
}
