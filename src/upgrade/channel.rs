//! The socket between two processes during an upgrade: messages with their length before them, and open sockets.
//!
//! `predecessor` and `successor` talk over it. It must never read further than what it was asked for: a descriptor
//! comes with the byte that it was sent with.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::config::limits::UPGRADE_MESSAGE;

/// One end of it.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// On a connected socket.
    ///
    /// # Errors
    /// When the runtime can't take it.
    pub fn of(socket: StdStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        UnixStream::from_std(socket).map(Self)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The other side is gone.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.0.write_all(&framed(message)?).await
    }

    /// The next message.
    ///
    /// # Errors
    /// The other side is gone, or says what isn't understood.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let length = self.0.read_u32().await? as usize;
        if length > UPGRADE_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
        }
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Sends another handle of a socket.
    ///
    /// # Errors
    /// The other side is gone.
    pub async fn send_socket(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let sent = self.0.async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let sockets = [socket];
            control.push(SendAncillaryMessage::ScmRights(&sockets));
            Ok(sendmsg(self.0.as_fd(), &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?)
        });
        sent.await.map(drop)
    }

    /// A socket that was sent.
    ///
    /// # Errors
    /// The other side is gone, or has sent none.
    pub async fn receive_socket(&mut self) -> io::Result<OwnedFd> {
        let received = self.0.async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let flags = RecvFlags::CMSG_CLOEXEC;
            recvmsg(self.0.as_fd(), &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
            let sockets = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
                _ => None,
            });
            Ok(sockets.last())
        });
        received.await?.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no socket came"))
    }
}

/// Sends a message without a runtime, by who is about to end.
///
/// # Errors
/// The other side is gone.
pub fn send_last<T: Serialize>(mut socket: &StdStream, message: &T) -> io::Result<()> {
    socket.write_all(&framed(message)?)
}

fn framed<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).ok().filter(|length| *length as usize <= UPGRADE_MESSAGE);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a message is too long"))?;
    Ok([&length.to_be_bytes()[..], &json].concat())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn messages_and_sockets_come_in_their_order() {
        let (one, other) = StdStream::pair().unwrap();
        let (mut one, mut other) = (Channel::of(one).unwrap(), Channel::of(other).unwrap());
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        one.send(&"before").await.unwrap();
        one.send_socket(listening.as_fd()).await.unwrap();
        one.send_socket(listening.as_fd()).await.unwrap();
        one.send(&7).await.unwrap();
        drop(listening);
        assert_eq!(other.receive::<String>().await.unwrap(), "before");
        let passed = TcpListener::from(other.receive_socket().await.unwrap());
        drop(other.receive_socket().await.unwrap());
        assert_eq!(other.receive::<u8>().await.unwrap(), 7);
        TcpStream::connect(address).unwrap();
        assert!(passed.accept().is_ok(), "it is the same socket");
        drop(one);
        assert!(other.receive::<u8>().await.is_err());
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error() {
        let (mut one, other) = StdStream::pair().unwrap();
        let mut other = Channel::of(other).unwrap();
        one.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert!(other.receive::<u8>().await.is_err());
        one.write_all(b"\0\0\0\x01x").unwrap();
        assert!(other.receive::<u8>().await.is_err());
        one.write_all(b"y").unwrap();
        assert!(other.receive_socket().await.is_err(), "a byte without a socket");
    }
}
