//! A connection that reads whole responses and never blocks for ever.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// How long a response may take: long, because the machine that runs the tests may be busy.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A connection that is no socket.
pub trait Pipe: Send {
    /// Sends all.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Receives some; 0 is the end, `None` that nothing came in time.
    fn receive(&mut self, bytes: &mut [u8], patience: Duration) -> io::Result<Option<usize>>;
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Pipe(Box<dyn Pipe>),
}

/// A client's end of a connection.
pub struct Wire {
    stream: Option<Stream>,
    buffer: Vec<u8>,
    /// Everything that went over the line, for the report of a failure.
    pub history: String,
}

/// Why no response came.
#[derive(Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing came in time.
    Timeout,
    /// The server closed the connection.
    Closed,
    /// The connection broke, or what came is no response.
    Broken(String),
}

impl Wire {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Some(Stream::Plain(stream)), buffer: Vec::new(), history: String::new() })
    }

    /// A connection over something else.
    pub fn over(pipe: Box<dyn Pipe>) -> Self {
        Self { stream: Some(Stream::Pipe(pipe)), buffer: Vec::new(), history: String::new() }
    }

    /// Starts TLS; bytes that came before it are dropped by the protocol's own order, so there must be none.
    pub fn start_tls(&mut self) -> io::Result<()> {
        let Some(Stream::Plain(stream)) = self.stream.take() else { return Err(io::Error::other("TLS runs already")) };
        stream.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::new(trusting()), name).map_err(io::Error::other)?;
        let mut tls = StreamOwned::new(connection, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        self.stream = Some(Stream::Tls(Box::new(tls)));
        Ok(())
    }

    /// Sends bytes; bounded in time.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.note("C", bytes);
        let stream = self.stream.as_mut().ok_or_else(|| io::Error::other("not connected"))?;
        match stream {
            Stream::Plain(stream) => {
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.write_all(bytes)
            }
            Stream::Tls(stream) => {
                stream.sock.set_write_timeout(Some(PATIENCE))?;
                stream.write_all(bytes)?;
                stream.flush()
            }
            Stream::Pipe(pipe) => pipe.send(bytes),
        }
    }

    /// The next response, without its last CRLF, with its literals inside.
    pub fn response(&mut self, patience: Duration) -> Result<Vec<u8>, Silence> {
        let end = Instant::now() + patience;
        loop {
            if let Some(length) = complete(&self.buffer) {
                let mut response: Vec<u8> = self.buffer.drain(..length).collect();
                self.note("S", &response);
                response.truncate(length - 2);
                return Ok(response);
            }
            self.fill(end)?;
        }
    }

    /// Puts a response back, to be read again.
    pub fn put_back(&mut self, response: &[u8]) {
        let mut bytes = response.to_vec();
        bytes.extend(b"\r\n");
        bytes.append(&mut self.buffer);
        self.buffer = bytes;
    }

    /// Whether the server closed the connection, with nothing left to read.
    pub fn is_closed(&mut self, patience: Duration) -> bool {
        self.response(patience) == Err(Silence::Closed)
            || matches!(self.response(Duration::from_millis(1)), Err(Silence::Broken(_)))
    }

    fn fill(&mut self, end: Instant) -> Result<(), Silence> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Silence::Timeout);
        }
        let mut chunk = vec![0; 64 << 10];
        let stream = self.stream.as_mut().ok_or(Silence::Closed)?;
        let read = match stream {
            Stream::Plain(stream) => stream.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut chunk)),
            Stream::Tls(stream) => stream.sock.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut chunk)),
            Stream::Pipe(pipe) => match pipe.receive(&mut chunk, left) {
                Ok(None) => return Err(Silence::Timeout),
                Ok(Some(count)) => Ok(count),
                Err(error) => Err(error),
            },
        };
        match read {
            Ok(0) => Err(Silence::Closed),
            Ok(count) => {
                self.buffer.extend(&chunk[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(()),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Err(Silence::Closed),
                _ => Err(Silence::Broken(error.to_string())),
            },
        }
    }

    fn note(&mut self, who: &str, bytes: &[u8]) {
        let shown = &bytes[..bytes.len().min(400)];
        let more = if shown.len() < bytes.len() { "[...]" } else { "" };
        self.history
            .push_str(&format!("    {who}: {}{more}\n", String::from_utf8_lossy(shown).trim_end().replace("\r\n", "\n       ")));
    }

    /// Sends a command and reads until its tagged reply; all responses, the tagged one last.
    pub fn command(&mut self, tag: &str, command: &str) -> Result<Vec<String>, String> {
        self.send(format!("{tag} {command}\r\n").as_bytes()).map_err(|error| error.to_string())?;
        self.until(tag)
    }

    /// Reads until the tagged reply (or, for the tag `+`, a continuation request).
    pub fn until(&mut self, tag: &str) -> Result<Vec<String>, String> {
        let mut responses = Vec::new();
        loop {
            let response =
                self.response(PATIENCE).map_err(|silence| format!("waiting for {tag}: {silence:?}\n{}", self.history))?;
            let text = String::from_utf8_lossy(&response).into_owned();
            let ends = text.split(' ').next() == Some(tag);
            responses.push(text);
            if ends {
                return Ok(responses);
            }
        }
    }
}

/// The length of the first whole response in the buffer: a line, and as long as it ends with a literal, that and the next line.
fn complete(buffer: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let end = at + buffer.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &buffer[at..end];
        let literal = line.strip_suffix(b"}").and_then(|line| {
            let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            let (rest, number) = line.split_at(line.len() - digits);
            let is_data = buffer.starts_with(b"* ") && rest.ends_with(b"{");
            if is_data { std::str::from_utf8(number).ok()?.parse::<usize>().ok() } else { None }
        });
        match literal {
            Some(length) => at = end + 2 + length,
            None => return Some(end + 2),
        }
    }
}

/// A client that takes any certificate: the servers that these tests run against have their own.
pub fn trusting() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakeAny))
        .with_no_client_auth()
}

#[derive(Debug)]
struct TakeAny;

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
