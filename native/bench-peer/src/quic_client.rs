//! The dialing side: does what lines on its input ask for, and says how long it took.

use crate::Failure;
use crate::arguments::Arguments;
use crate::quic_server::{endpoint_config, socket, transport};
use crate::usage::{self, Stopwatch};
use crate::work::{ANSWER, CHUNK, MESSAGE, SINK};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, TokioRuntime};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};

struct Client {
    endpoint: Endpoint,
    server: SocketAddr,
    held: Vec<Connection>,
}

pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(crate::tls::client(&arguments)?)?));
    config.transport_config(transport(&arguments)?);
    let socket = socket(SocketAddr::from(([127, 0, 0, 1], 0)), &arguments)?;
    let mut endpoint = Endpoint::new(endpoint_config(&arguments)?, None, socket, Arc::new(TokioRuntime))?;
    endpoint.set_default_client_config(config);
    let mut client = Client { endpoint, server: arguments.required("to")?, held: Vec::new() };
    println!("READY");

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let (command, arguments) = Arguments::command(&line)?;
        let answer = match command {
            "bulk" => client.bulk(arguments.required("bytes")?).await?,
            "requests" => client.requests(arguments.required("count")?, arguments.required("parallel")?).await?,
            "handshakes" => client.handshakes(arguments.required("count")?, arguments.required("parallel")?).await?,
            "hold" => client.hold(arguments.required("count")?).await?,
            "stats" => format!("\"resident\":{},\"cpu\":{:.6}", usage::resident_bytes(), usage::cpu_seconds()),
            other => return Err(format!("unknown command {other:?}").into()),
        };
        println!("{{{answer}}}");
    }
    client.endpoint.close(0u32.into(), b"");
    client.endpoint.wait_idle().await;
    Ok(())
}

impl Client {
    async fn connect(&self) -> Result<Connection, Failure> {
        connect(&self.endpoint, self.server).await
    }

    /// Send `bytes` on one stream of a new connection, until the server has said that it has them all.
    async fn bulk(&self, bytes: u64) -> Result<String, Failure> {
        let connection = self.connect().await?;
        let chunk = vec![SINK; CHUNK];
        let watch = Stopwatch::start();
        let (mut send, mut receive) = connection.open_bi().await?;
        let mut left = bytes;
        while left > 0 {
            let length = left.min(CHUNK as u64);
            send.write_all(&chunk[..length as usize]).await?;
            left -= length;
        }
        send.finish()?;
        let answer = receive.read_to_end(8).await?;
        let fields = watch.fields();
        if answer != bytes.to_le_bytes() {
            return Err(format!("the server counted {answer:?}, expected {bytes} bytes").into());
        }
        let path = connection.stats().path;
        connection.close(0u32.into(), b"");
        Ok(format!("{fields},\"lost\":{},\"mtu\":{}", path.lost_packets, path.current_mtu))
    }

    /// `count` requests, each on a stream of its own, `parallel` at a time, on one connection.
    async fn requests(&self, count: u64, parallel: u64) -> Result<String, Failure> {
        let connection = self.connect().await?;
        let watch = Stopwatch::start();
        let mut tasks = Vec::new();
        for _ in 0..parallel {
            let connection = connection.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..count / parallel {
                    request(&connection).await?;
                }
                Ok::<(), Failure>(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        let fields = watch.fields();
        connection.close(0u32.into(), b"");
        Ok(fields)
    }

    /// `count` connections, `parallel` at a time, each closed at once.
    async fn handshakes(&self, count: u64, parallel: u64) -> Result<String, Failure> {
        let watch = Stopwatch::start();
        let mut tasks = Vec::new();
        for _ in 0..parallel {
            let (endpoint, server) = (self.endpoint.clone(), self.server);
            tasks.push(tokio::spawn(async move {
                for _ in 0..count / parallel {
                    connect(&endpoint, server).await?.close(0u32.into(), b"");
                }
                Ok::<(), Failure>(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(watch.fields())
    }

    /// Open `count` more connections, and keep them.
    async fn hold(&mut self, count: u64) -> Result<String, Failure> {
        for _ in 0..count {
            self.held.push(self.connect().await?);
        }
        Ok(format!("\"held\":{}", self.held.len()))
    }
}

async fn connect(endpoint: &Endpoint, server: SocketAddr) -> Result<Connection, Failure> {
    Ok(endpoint.connect(server, "localhost")?.await?)
}

async fn request(connection: &Connection) -> Result<(), Failure> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[ANSWER; MESSAGE]).await?;
    send.finish()?;
    let answer = receive.read_to_end(MESSAGE).await?;
    if answer.len() != MESSAGE {
        return Err(format!("an answer of {} bytes, expected {MESSAGE}", answer.len()).into());
    }
    Ok(())
}
