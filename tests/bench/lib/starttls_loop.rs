//! starttls-loop serve CERTIFICATES KEY    mail servers at port 25 of every local address, with one certificate for all.
//! starttls-loop ask HOSTS                 the least that any client must do: one handshake a server, all at once.
//!
//! The servers wait before each reply, as if they were some way off, and are otherwise never what a measurement waits
//! for beyond their own RSA signing. The client believes every certificate and judges nothing: what another client
//! needs beyond it is that client's own.

use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::NoServerSessionStorage,
};
use std::{
    env, error, io,
    net::{IpAddr, Ipv4Addr, TcpStream as StdStream},
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What passes before each reply: a round trip through a country, or a busy server.
const WAIT: Duration = Duration::from_millis(20);
const PORT: u16 = 25;
/// RFC 5321 sections 4.5.3.1.4 and 4.5.3.1.5: a command or one line of a reply.
const LONGEST_LINE: u64 = 512;

type Done = Result<(), Box<dyn error::Error>>;

fn main() -> Done {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", certificates, key] => serve(certificates, key),
        ["ask", hosts] => ask(hosts.parse()?),
        _ => Err("starttls-loop serve CERTIFICATES KEY, or starttls-loop ask HOSTS".into()),
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn host(number: u8) -> String {
    format!("h{number:03}.estate.test")
}

// The servers.

/// Connections are dealt out evenly, so that every core signs.
fn serve(certificates: &str, key: &str) -> Done {
    let chain = CertificateDer::pem_file_iter(certificates)?.collect::<Result<_, _>>()?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    // No session is taken up again: every client pays for the same full handshake.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let signers: Vec<_> = (0..thread::available_parallelism()?.get()).map(|_| signer(&acceptor)).collect();
    runtime()?.block_on(async {
        // 128 may wait by default, and all clients come at once: who is turned away tries again a second later.
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::UNSPECIFIED, PORT).into())?;
        let listener = socket.listen(4096)?;
        for signer in signers.iter().cycle() {
            signer.send(listener.accept().await?.0.into_std()?)?;
        }
        Ok(())
    })
}

fn signer(acceptor: &TlsAcceptor) -> UnboundedSender<StdStream> {
    let (to_signer, mut connections) = unbounded_channel();
    let acceptor = acceptor.clone();
    thread::spawn(move || {
        runtime()?.block_on(async {
            while let Some(connection) = connections.recv().await {
                // A client that goes away early is its own affair; the bench counts what clients have seen.
                tokio::spawn(session(TcpStream::from_std(connection)?, acceptor.clone()));
            }
            io::Result::Ok(())
        })
    });
    to_signer
}

async fn session(connection: TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let name = match connection.local_addr()?.ip() {
        IpAddr::V4(address) => host(address.octets()[3]),
        IpAddr::V6(_) => return Ok(()),
    };
    let mut plain = BufReader::new(connection);
    reply(&mut plain, &format!("220 {name} ESMTP\r\n")).await?;
    let before_tls = format!("250-{name}\r\n250-SIZE 37748736\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 8BITMIME\r\n");
    if until_starttls(&mut plain, &before_tls).await? {
        let mut inside = BufReader::new(acceptor.accept(plain.into_inner()).await?);
        let in_tls = format!("250-{name}\r\n250-SIZE 37748736\r\n250-PIPELINING\r\n250 8BITMIME\r\n");
        until_starttls(&mut inside, &in_tls).await?;
        inside.shutdown().await?;
    }
    Ok(())
}

/// Answers commands until TLS is to begin; false if the client has taken its leave instead.
async fn until_starttls(stream: &mut (impl AsyncBufRead + AsyncWrite + Unpin), to_ehlo: &str) -> io::Result<bool> {
    loop {
        let command = line(stream).await?.to_ascii_uppercase();
        match command.split_ascii_whitespace().next() {
            Some("EHLO") => reply(stream, to_ehlo).await?,
            Some("STARTTLS") => {
                reply(stream, "220 2.0.0 Ready to start TLS\r\n").await?;
                return Ok(true);
            }
            Some("QUIT") => {
                reply(stream, "221 2.0.0 Bye\r\n").await?;
                return Ok(false);
            }
            Some(_) => reply(stream, "502 5.5.1 Not here\r\n").await?,
            None => return Ok(false),
        }
    }
}

async fn reply(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> io::Result<()> {
    sleep(WAIT).await;
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}

// The client.

fn ask(hosts: u8) -> Done {
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(BelievesAll))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let connector = TlsConnector::from(Arc::new(config));
    runtime()?.block_on(async {
        let mut asked: JoinSet<_> = (1..=hosts).map(|number| handshake(number, connector.clone())).collect();
        while let Some(done) = asked.join_next().await {
            done??;
        }
        Ok(())
    })
}

async fn handshake(number: u8, connector: TlsConnector) -> io::Result<()> {
    let connection = TcpStream::connect((Ipv4Addr::new(10, 77, 1, number), PORT)).await?;
    // The end of the handshake and the EHLO behind it are two small writes: Nagle would hold the second one back.
    connection.set_nodelay(true)?;
    let mut plain = BufReader::new(connection);
    expect(&mut plain, "220").await?;
    command(&mut plain, "EHLO bare.test\r\n", "250").await?;
    command(&mut plain, "STARTTLS\r\n", "220").await?;
    let name = ServerName::try_from(host(number)).map_err(io::Error::other)?;
    let mut inside = BufReader::new(connector.connect(name, plain.into_inner()).await?);
    command(&mut inside, "EHLO bare.test\r\n", "250").await?;
    command(&mut inside, "QUIT\r\n", "221").await
}

async fn command(stream: &mut (impl AsyncBufRead + AsyncWrite + Unpin), command: &str, code: &str) -> io::Result<()> {
    stream.write_all(command.as_bytes()).await?;
    stream.flush().await?;
    expect(stream, code).await
}

async fn expect(stream: &mut (impl AsyncBufRead + Unpin), code: &str) -> io::Result<()> {
    loop {
        match line(stream).await?.strip_prefix(code) {
            Some(rest) if rest.starts_with('-') => {}
            Some(_) => return Ok(()),
            None => return Err(io::Error::other(format!("not the {code} that was expected"))),
        }
    }
}

async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut line = String::new();
    stream.take(LONGEST_LINE).read_line(&mut line).await?;
    Ok(line)
}

#[derive(Debug)]
struct BelievesAll;

impl ServerCertVerifier for BelievesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
