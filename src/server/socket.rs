//! A visitor's socket: of TCP or of this machine's file system.
//!
//! `server::accept` takes them, `server::opening` reads from them first. It must never cost a call that the kind at
//! hand doesn't need.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdTcp};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdUnix;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::config::limits::sockets::{PROVEN, UNSENT};
use crate::upstream::prefixed::Prefixed;
use crate::upstream::unsent::bound_unsent;

/// What stands for both ends of a unix socket: only this machine reaches it.
pub const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// One that no runtime has, non-blocking: on its way from one worker to another, or silent for a while.
#[derive(Debug)]
pub enum Idle {
    /// Of TCP.
    Tcp(StdTcp),
    /// Of a path.
    Unix(StdUnix),
}

impl Idle {
    /// Hands it to this thread's runtime.
    ///
    /// # Errors
    /// When the runtime can't take it.
    pub fn wake(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(socket) => TcpStream::from_std(socket).map(Socket::from),
            Self::Unix(socket) => UnixStream::from_std(socket).map(Socket::Unix),
        }
    }
}

impl AsFd for Idle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// One that can be read and written.
#[derive(Debug)]
pub enum Socket {
    /// Of TCP, and how many bytes it has taken, up to [`PROVEN`].
    Tcp(TcpStream, u64),
    /// Of a path.
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket, 0)
    }
}

impl Socket {
    /// Takes it from this thread's runtime.
    ///
    /// # Errors
    /// When the runtime doesn't let it go; the connection is closed then.
    pub fn rest(self) -> io::Result<Idle> {
        match self {
            Self::Tcp(socket, _) => socket.into_std().map(Idle::Tcp),
            Self::Unix(socket) => socket.into_std().map(Idle::Unix),
        }
    }

    /// Our own end's address.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket, _) => socket.local_addr(),
            Self::Unix(_) => Ok(LOCAL),
        }
    }

    /// Returns once there is something to read, or the end.
    ///
    /// # Errors
    /// When the runtime is gone.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket, _) => socket.readable().await,
            Self::Unix(socket) => socket.readable().await,
        }
    }

    /// Ready once there may be something to read, or the end.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(socket, _) => socket.poll_read_ready(cx).map(drop),
            Self::Unix(socket) => socket.poll_read_ready(cx).map(drop),
        }
    }

    /// Has the kernel take more for a visitor who has taken a good deal.
    fn written(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Self::Tcp(socket, taken), Poll::Ready(Ok(bytes))) = (self, &outcome)
            && *taken < PROVEN
        {
            *taken += *bytes as u64;
            if *taken >= PROVEN {
                bound_unsent(socket, UNSENT);
            }
        }
        outcome
    }

    /// What is written goes at once: the kernel must not wait for more.
    pub fn set_nodelay(&self) {
        if let Self::Tcp(socket, _) = self {
            // A dead socket says so at the first read.
            let _ = socket.set_nodelay(true);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket, _) => Pin::new(socket).poll_read(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = match this {
            Self::Tcp(socket, _) => Pin::new(socket).poll_write(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        };
        this.written(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = match this {
            Self::Tcp(socket, _) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
        };
        this.written(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket, _) => Pin::new(socket).poll_flush(cx),
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket, _) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// What HTTP/1 is spoken on.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Clear(Socket),
    /// Over TLS.
    Tls(Box<TlsStream<Prefixed<Socket>>>),
}

impl Stream {
    /// Ready once there may be something to read, or the end, behind what has been read.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Clear(socket) => socket.poll_readable(cx),
            Self::Tls(stream) => stream.get_ref().0.inner().poll_readable(cx),
        }
    }

    /// Whether its socket may leave the runtime and come back: a session of TLS stays with its own.
    pub fn can_rest(&self) -> bool {
        cfg!(target_os = "linux") && matches!(self, Self::Clear(_))
    }

    /// Its bare socket, where it can.
    pub fn rest(self) -> Option<Idle> {
        match self {
            Self::Clear(socket) => socket.rest().ok(),
            Self::Tls(_) => None,
        }
    }

    /// Has its end be a reset, so that it doesn't pass for the end of what was written. TLS tells the two apart.
    pub fn reset(&self) {
        if let Self::Clear(Socket::Tcp(socket, _)) = self {
            // A dead socket needs none.
            let _ = socket.set_zero_linger();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // What is written to a socket has gone.
            Self::Clear(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn the_kernel_takes_more_for_a_visitor_who_has_taken_a_good_deal() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut visitor = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::from(listener.accept().await.unwrap().0);
        let bound = |socket: &Socket| match socket {
            Socket::Tcp(socket, _) => socket2::SockRef::from(socket).tcp_notsent_lowat().unwrap(),
            Socket::Unix(_) => unreachable!("it is of TCP"),
        };
        let (page, mut piece) = (vec![0; PROVEN as usize / 4], vec![0; PROVEN as usize / 4]);
        for pieces in 1..=4 {
            assert_ne!(bound(&socket), UNSENT, "before piece {pieces}");
            let (sent, taken) = tokio::join!(socket.write_all(&page), visitor.read_exact(&mut piece));
            assert!(sent.is_ok() && taken.is_ok());
        }
        assert_eq!(bound(&socket), UNSENT);
    }
}
