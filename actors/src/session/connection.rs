//! The socket of one session: bytes in become steps of the frame reader, responses become bytes out. Holds no memory while idle.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;

use carillon_protocol::encode;
use carillon_protocol::frame::{FrameLimits, FrameReader, Step};
use carillon_protocol::mailbox_name::NameFormat;
use carillon_protocol::response::{Response, Untagged};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

/// Any byte stream: TCP, TLS, or a pipe in a test.
pub trait Wire: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// Output is written to the socket as soon as there is more than this.
const FULL_BYTES: usize = 64 << 10;
/// Bytes taken from the socket at once; the buffer lives on the stack of one poll.
const READ_BYTES: usize = 16 << 10;
/// How long a client that is sent away has to take what was said.
pub const FAREWELL: Duration = Duration::from_secs(3);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// A connection with its bounded buffers.
pub struct Connection {
    wire: Box<dyn Wire>,
    frames: FrameReader,
    output: Vec<u8>,
    /// How much of the output is written already.
    written: usize,
    format: NameFormat,
    write_timeout: Duration,
    last_output: Instant,
    /// Bytes received, after TLS.
    pub bytes_in: u64,
    /// Bytes sent, before TLS.
    pub bytes_out: u64,
}

impl Connection {
    /// A connection over `wire`.
    pub fn new(wire: Box<dyn Wire>, format: NameFormat, write_timeout: Duration) -> Self {
        Self {
            wire,
            frames: FrameReader::new(FrameLimits::UNAUTHENTICATED),
            output: Vec::new(),
            written: 0,
            format,
            write_timeout,
            last_output: Instant::now(),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// How mailbox names stand on this connection.
    pub const fn format(&self) -> NameFormat {
        self.format
    }

    /// Other bounds, after login.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.frames.set_limits(limits);
    }

    /// The frame reader, to be told what comes next.
    pub const fn frames(&mut self) -> &mut FrameReader {
        &mut self.frames
    }

    /// The next step of the input. All output is written before input is waited for. Safe to drop and call again: nothing is lost.
    ///
    /// # Errors
    /// The connection is lost, or the client does not read what was sent to it.
    pub async fn step(&mut self) -> io::Result<Step> {
        loop {
            let step = self.frames.step();
            if !matches!(step, Step::NeedMore) {
                return Ok(step);
            }
            self.flush().await?;
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let Self { wire, frames, bytes_in, .. } = self;
        poll_fn(|context| {
            let mut chunk = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut *wire).poll_read(context, &mut buffer))?;
            let received = buffer.filled();
            if received.is_empty() {
                return std::task::Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            *bytes_in += received.len() as u64;
            frames.push(received);
            std::task::Poll::Ready(Ok(()))
        })
        .await
    }

    /// Puts a response into the output buffer.
    pub fn send(&mut self, response: &Response) {
        encode::encode(response, self.format, &mut self.output);
    }

    /// Puts an untagged response into the output buffer.
    pub fn tell(&mut self, untagged: &Untagged) {
        encode::encode_untagged(untagged, self.format, &mut self.output);
    }

    /// Puts responses that were encoded elsewhere into the output buffer and writes it when it is full.
    ///
    /// # Errors
    /// As [`Connection::flush`].
    pub async fn send_encoded(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        if self.output.is_empty() {
            self.output = bytes;
        } else {
            self.output.extend_from_slice(&bytes);
        }
        self.relieve().await
    }

    /// Writes the output buffer where it is full: between the responses of a long answer.
    ///
    /// # Errors
    /// As [`Connection::flush`].
    pub async fn relieve(&mut self) -> io::Result<()> {
        if self.output.len() < FULL_BYTES { Ok(()) } else { self.flush().await }
    }

    /// Writes all output and gives its memory back. Safe to drop and call again: what was written is counted at once.
    ///
    /// # Errors
    /// The connection is lost, or the client took nothing for the write timeout.
    pub async fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            let written = timeout(self.write_timeout, self.wire.write(rest)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += written;
            self.bytes_out += written as u64;
        }
        if self.written > 0 {
            timeout(self.write_timeout, self.wire.flush()).await.map_err(|_| io::ErrorKind::TimedOut)??;
            self.output = Vec::new();
            self.written = 0;
            self.last_output = Instant::now();
        }
        Ok(())
    }

    /// Bytes of all responses, written or not yet.
    pub const fn bytes_made(&self) -> u64 {
        self.bytes_out + (self.output.len() - self.written) as u64
    }

    /// When output was written last.
    pub const fn last_output(&self) -> Instant {
        self.last_output
    }

    /// Turns the connection into a TLS one: its version and cipher. Plain text that was sent ahead is discarded (RFC 9051 §6.2.1).
    ///
    /// # Errors
    /// The handshake failed or took too long.
    pub async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> io::Result<String> {
        self.frames.discard();
        let (placeholder, _) = tokio::io::duplex(1);
        let plain = std::mem::replace(&mut self.wire, Box::new(placeholder));
        let stream = timeout(HANDSHAKE, acceptor.accept(plain)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let session = stream.get_ref().1;
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
        let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let described = format!("{version} {suite}");
        self.wire = Box::new(stream);
        Ok(described)
    }

    /// Says what is left to say and closes; the client gets so long to take it. One that is still sending is listened to for as long, in vain: a socket
    /// that is closed over unread input takes BYE back from the client.
    pub async fn close(&mut self, is_sending: bool, patience: Duration) {
        let farewell = async {
            self.flush().await?;
            self.wire.shutdown().await?;
            let mut dropped = [0; 4 << 10];
            while is_sending && self.wire.read(&mut dropped).await? > 0 {}
            io::Result::Ok(())
        };
        // The client may be gone already; there is nobody left to tell.
        let _ = timeout(patience, Box::pin(farewell)).await;
    }
}
