//! The time of now as HTTP says it (RFC 9110 section 5.6.7), made once a second.
//!
//! Each worker has one, for responses without a `Date`, to which a proxy has to add one (section 6.6.1). It must never
//! be older than a second.

use std::cell::{Cell, RefCell};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// The last that was made.
#[derive(Debug, Default)]
pub struct Date {
    second: Cell<u64>,
    text: RefCell<String>,
}

impl Date {
    /// Shows the time of now to `to`.
    pub fn show(&self, to: impl FnOnce(&str)) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.second.replace(now) != now || self.text.borrow().is_empty() {
            *self.text.borrow_mut() = text(now);
        }
        to(&self.text.borrow());
    }
}

fn text(second: u64) -> String {
    let time = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
    time.unwrap_or_default().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_the_rfc_shows_it() {
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        let date = Date::default();
        let (mut first, mut second) = (String::new(), String::new());
        date.show(|text| first.push_str(text));
        date.show(|text| second.push_str(text));
        assert_eq!((first.len(), second.len()), (29, 29));
    }
}
