//! The stream of events that the live view is fed by; it connects anew by itself.
//!
//! `watch` polls it. It must never keep quiet about a stream that has stopped.

use http_body_util::BodyExt;
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::admin::types::{Series, Status};
use crate::cli::client::{Client, Trouble};
use crate::cli::watch::events::{Event, Events};
use crate::config::limits::{WATCH_RETRY, WATCH_SILENCE};
use crate::control::command::RefusedReason;

/// What the stream brings.
#[derive(Debug)]
pub(super) enum News {
    /// The last minutes, once for each connection.
    Series(Box<Series>),
    /// What is now.
    Status(Box<Status>),
    /// Nothing for the time being, and why.
    Lost(String),
}

/// Tells what it hears, for ever; it ends where the proxy says that we may not listen.
///
/// A stream ends by itself every few minutes, so that its reader shows its token anew: that is no loss.
pub(super) async fn follow(client: &Client, tell: Sender<News>) -> Trouble {
    let mut pause = interval(WATCH_RETRY);
    // However long a connection has lasted: one try a second.
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pause.tick().await;
        let why = match hear(client, &tell).await {
            Err(trouble) if is_final(&trouble) => return trouble,
            Err(Trouble::Absent { why, .. }) => format!("no proxy there, {why}"),
            Err(trouble) => trouble.to_string(),
            Ok(End::Whole) => continue,
            Ok(End::Broken(why)) => why.to_owned(),
        };
        // Whoever draws is there as long as we are polled.
        let _ = tell.send(News::Lost(why)).await;
    }
}

/// How a stream ends.
enum End {
    /// As the proxy meant it to.
    Whole,
    /// Otherwise, and how.
    Broken(&'static str),
}

/// Who we are, or from where we ask, isn't right: no other try will change that. Anything else may pass.
fn is_final(trouble: &Trouble) -> bool {
    let Trouble::Refused(answer) = trouble else { return false };
    matches!(answer.value.reason, RefusedReason::Unauthorized | RefusedReason::Forbidden)
}

/// One connection, until it ends.
async fn hear(client: &Client, tell: &Sender<News>) -> Result<End, Trouble> {
    let mut body = client.stream("/api/v1/events").await?;
    if let Ok(series) = client.view::<Series>("/api/v1/series").await {
        let _ = tell.send(News::Series(Box::new(series.value))).await;
    }
    let mut events = Events::default();
    loop {
        let frame = match timeout(WATCH_SILENCE, body.frame()).await {
            Err(_) => return Ok(End::Broken("the proxy says nothing any more")),
            Ok(None) => return Ok(End::Whole),
            Ok(Some(Err(_))) => return Ok(End::Broken("the connection to the proxy has ended")),
            Ok(Some(Ok(frame))) => frame,
        };
        let bytes = frame.into_data().unwrap_or_default();
        let Some(whole) = events.take(&bytes) else {
            return Ok(End::Broken("an event of the proxy's is too large to read"));
        };
        for event in whole {
            if let Some(status) = status(&event) {
                let _ = tell.send(News::Status(Box::new(status))).await;
            }
        }
    }
}

/// The status has the history, too; nothing else is needed.
fn status(event: &Event) -> Option<Status> {
    (event.name == "status").then(|| serde_json::from_str(&event.data).ok())?
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::thread;

    use tokio::sync::mpsc::channel;

    use super::*;
    use crate::cli::place::Place;

    /// Somebody who gives each connection the next of these answers.
    fn answering(path: &Path, answers: Vec<String>) {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            for (answer, stream) in answers.into_iter().zip(listener.incoming()) {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                lines.map(Result::unwrap).take_while(|line| !line.is_empty()).for_each(drop);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
    }

    fn refused(status: &str, reason: &str) -> String {
        let body = format!(r#"{{"error":"{status}","reason":"{reason}"}}"#);
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn only_who_may_not_listen_gives_up_and_an_ordinary_end_is_no_loss() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let ended = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned();
        let broken = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nda".to_owned();
        let series = refused("503 Service Unavailable", "ending");
        let answers = vec![
            refused("429 Too Many Requests", "rate_limited"),
            ended,
            series.clone(),
            broken,
            series,
            refused("401 Unauthorized", "unauthorized"),
        ];
        answering(&path, answers);
        let (tell, mut news) = channel(16);
        let trouble = follow(&Client::new(Place::Socket(path)), tell).await;
        assert_eq!(trouble.to_string(), "401 Unauthorized");
        let mut lost = Vec::new();
        while let Some(News::Lost(why)) = news.recv().await {
            lost.push(why);
        }
        assert_eq!(lost, ["429 Too Many Requests", "the connection to the proxy has ended"]);
    }
}
