//! The serving side: does what streams ask for (`work.rs`), and answers `stats` on its input.

use crate::Failure;
use crate::arguments::Arguments;
use crate::usage;
use crate::work::{CHUNK, MESSAGE, SINK};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, Incoming, RecvStream, SendStream, ServerConfig, TokioRuntime, TransportConfig,
};
use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

/// The transport of both sides. What is not named stays quinn's default.
pub fn transport(arguments: &Arguments) -> Result<Arc<TransportConfig>, Failure> {
    let mut config = TransportConfig::default();
    if let Some(streams) = arguments.optional::<u32>("streams")? {
        config.max_concurrent_bidi_streams(streams.into());
        config.max_concurrent_uni_streams(streams.into());
    }
    if let Some(mtu) = arguments.optional::<u16>("mtu")? {
        let mut discovery = quinn::MtuDiscoveryConfig::default();
        discovery.upper_bound(mtu);
        config.mtu_discovery_config(Some(discovery));
    }
    if let Some(idle) = arguments.optional::<u64>("idle")? {
        config.max_idle_timeout(Some(Duration::from_millis(idle).try_into()?));
    }
    Ok(Arc::new(config))
}

/// A UDP socket with the buffers our engine asks for.
pub fn socket(address: SocketAddr, arguments: &Arguments) -> Result<UdpSocket, Failure> {
    let socket = UdpSocket::bind(address)?;
    if let Some(bytes) = arguments.optional::<usize>("buffer")? {
        let reference = socket2::SockRef::from(&socket);
        reference.set_recv_buffer_size(bytes)?;
        reference.set_send_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// `EndpointConfig` as the side that takes large datagrams needs it.
pub fn endpoint_config(arguments: &Arguments) -> Result<EndpointConfig, Failure> {
    let mut config = EndpointConfig::default();
    if let Some(mtu) = arguments.optional::<u16>("mtu")? {
        config.max_udp_payload_size(mtu.max(1472))?;
    }
    Ok(config)
}

#[derive(Default)]
struct Counts {
    connections: Cell<u64>,
    open: Cell<u64>,
}

pub async fn serve(arguments: Arguments) -> Result<(), Failure> {
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(crate::tls::server(&arguments)?)?));
    config.transport_config(transport(&arguments)?);
    let address = arguments.optional("listen")?.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let socket = socket(address, &arguments)?;
    let endpoint = Endpoint::new(endpoint_config(&arguments)?, Some(config), socket, Arc::new(TokioRuntime))?;
    println!("READY {}", endpoint.local_addr()?);

    let counts = Rc::new(Counts::default());
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let accepting = counts.clone();
            let acceptor = endpoint.clone();
            tokio::task::spawn_local(async move {
                while let Some(incoming) = acceptor.accept().await {
                    tokio::task::spawn_local(connection(incoming, accepting.clone()));
                }
            });
            let mut lines = BufReader::new(tokio::io::stdin()).lines();
            while let Some(line) = lines.next_line().await? {
                match Arguments::command(&line)? {
                    ("stats", _) => println!(
                        "{{\"connections\":{},\"open\":{},\"resident\":{},\"cpu\":{:.6}}}",
                        counts.connections.get(),
                        counts.open.get(),
                        usage::resident_bytes(),
                        usage::cpu_seconds()
                    ),
                    (other, _) => {
                        return Err(format!("unknown command {other:?}: expected stats").into());
                    }
                }
            }
            Ok(())
        })
        .await
}

async fn connection(incoming: Incoming, counts: Rc<Counts>) {
    // A client that goes away in the middle is its own matter, and the client's count will say so.
    let Ok(connection) = incoming.await else {
        return;
    };
    counts.connections.update(|count| count + 1);
    counts.open.update(|count| count + 1);
    streams(&connection).await;
    counts.open.update(|count| count - 1);
}

async fn streams(connection: &Connection) {
    while let Ok((send, receive)) = connection.accept_bi().await {
        // Errors of a stream reach the client as a missing answer.
        tokio::task::spawn_local(async move { work(send, receive).await.ok() });
    }
}

async fn work(mut send: SendStream, mut receive: RecvStream) -> Result<(), Failure> {
    let mut buffer = vec![0; CHUNK];
    let Some(mut length) = receive.read(&mut buffer).await? else {
        return Ok(());
    };
    let wanted = buffer[0];
    let mut total = 0;
    loop {
        total += length as u64;
        match receive.read(&mut buffer).await? {
            Some(next) => length = next,
            None => break,
        }
    }
    if wanted == SINK {
        send.write_all(&total.to_le_bytes()).await?;
    } else {
        send.write_all(&[0; MESSAGE]).await?;
    }
    send.finish()?;
    Ok(())
}
