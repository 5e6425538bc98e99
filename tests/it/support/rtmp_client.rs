//! An RTMP publisher that does what encoders do, and what they should not.
//!
//! The short way is [`Publisher::connect`], `send_video`, `send_audio`, [`Publisher::unpublish`].
//! The long way (`dial`, `handshake`, `send_connect`, …) stops wherever a test wants to misbehave.
//! Every wait ends after [`PATIENCE`].

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::ingest::amf0::{self, Value};
use weir::ingest::chunk::{ChunkReader, Message, kind};

/// Longer than anything takes here; reaching it fails the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// libx264, 640x360, 30 fps, High, level 3.0.
const AVC_CONFIG: &[u8] = &[
    0x01, 0x64, 0x00, 0x1e, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0,
    0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16,
    0x2d, 0x96, 0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
];

/// FLV body: H.264 configuration.
pub(crate) fn avc_config() -> Vec<u8> {
    [&[0x17, 0, 0, 0, 0], AVC_CONFIG].concat()
}

/// FLV body: AAC-LC configuration, 48 kHz stereo.
pub(crate) fn aac_config() -> Vec<u8> {
    vec![0xaf, 0, 0x11, 0x90]
}

/// FLV body: an IDR picture of one NAL unit filled with `fill`. Not decodable.
pub(crate) fn key_frame(nal_bytes: usize, fill: u8) -> Vec<u8> {
    picture(0x17, 0x65, nal_bytes, fill)
}

/// FLV body: a picture that refers to others. Not decodable.
pub(crate) fn inter_frame(nal_bytes: usize, fill: u8) -> Vec<u8> {
    picture(0x27, 0x41, nal_bytes, fill)
}

/// FLV body: one AAC frame. Not decodable.
pub(crate) fn aac_frame(bytes: usize, fill: u8) -> Vec<u8> {
    [vec![0xaf, 1], vec![fill; bytes]].concat()
}

fn picture(frame_type: u8, nal_type: u8, nal_bytes: usize, fill: u8) -> Vec<u8> {
    let mut nal = vec![fill; nal_bytes.max(1)];
    nal[0] = nal_type;
    let length = u32::try_from(nal.len()).unwrap().to_be_bytes();
    [&[frame_type, 1, 0, 0, 0], &length[..], &nal].concat()
}

/// A value to send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amf<'a> {
    Number(f64),
    Text(&'a str),
    Null,
    Object(&'a [(&'a str, Self)]),
}

/// AMF0 bytes of `values`.
pub(crate) fn amf(values: &[Amf<'_>]) -> Vec<u8> {
    let name = |text: &str| {
        [
            &u16::try_from(text.len()).unwrap().to_be_bytes(),
            text.as_bytes(),
        ]
        .concat()
    };
    let mut bytes = vec![];
    for value in values {
        match value {
            Amf::Number(number) => {
                bytes.push(0);
                bytes.extend(number.to_be_bytes());
            }
            Amf::Text(text) => {
                bytes.push(2);
                bytes.extend(name(text));
            }
            Amf::Null => bytes.push(5),
            Amf::Object(properties) => {
                bytes.push(3);
                for (key, value) in *properties {
                    bytes.extend(name(key));
                    bytes.extend(amf(&[*value]));
                }
                bytes.extend([0, 0, 9]);
            }
        }
    }
    bytes
}

/// How a message is cut into chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunking {
    pub(crate) stream: u8,
    pub(crate) size: usize,
    /// Whether continuation chunks repeat an extended timestamp.
    pub(crate) repeats_extended: bool,
}

/// The chunks of one message: a type 0 chunk, then type 3 chunks.
pub(crate) fn chunks(how: Chunking, kind: u8, timestamp: u32, body: &[u8]) -> Vec<Vec<u8>> {
    const EXTENDED: u32 = 0x00FF_FFFF;
    let mut header = vec![how.stream];
    header.extend(&timestamp.min(EXTENDED).to_be_bytes()[1..]);
    header.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    header.extend([kind, 1, 0, 0, 0]);
    let mut next_header = vec![0xC0 | how.stream];
    if timestamp >= EXTENDED {
        header.extend(timestamp.to_be_bytes());
        if how.repeats_extended {
            next_header.extend(timestamp.to_be_bytes());
        }
    }
    if body.is_empty() {
        return vec![header];
    }
    let headers = std::iter::once(header).chain(std::iter::repeat(next_header));
    headers
        .zip(body.chunks(how.size))
        .map(|(head, piece)| [&head, piece].concat())
        .collect()
}

/// An `onStatus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) level: String,
    pub(crate) code: String,
    pub(crate) description: String,
}

/// One connection to an RTMP server.
pub(crate) struct Publisher {
    stream: TcpStream,
    chunk_size: usize,
    reader: ChunkReader,
    input: BytesMut,
}

impl Publisher {
    /// Connects, publishes, and waits for `NetStream.Publish.Start`; a refusal is an error that
    /// holds its code and description.
    pub(crate) async fn connect(server: SocketAddr, app: &str, key: &str) -> io::Result<Self> {
        let mut publisher = Self::dial(server).await?;
        publisher.handshake().await?;
        publisher.set_chunk_size(4096).await?;
        publisher.send_connect(app).await?;
        publisher.send_publish(key).await?;
        let status = publisher.expect_status().await?;
        if status.code == "NetStream.Publish.Start" {
            return Ok(publisher);
        }
        Err(io::Error::other(format!(
            "{}: {}",
            status.code, status.description
        )))
    }

    /// A TCP connection, nothing said yet.
    pub(crate) async fn dial(server: SocketAddr) -> io::Result<Self> {
        let stream = patiently(TcpStream::connect(server)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            chunk_size: 128,
            reader: ChunkReader::new(),
            input: BytesMut::new(),
        })
    }

    /// The simple handshake.
    pub(crate) async fn handshake(&mut self) -> io::Result<()> {
        self.send_raw(&[&[3][..], &[0; 1536]].concat()).await?;
        let mut answer = vec![0; 1 + 2 * 1536];
        patiently(self.stream.read_exact(&mut answer)).await?;
        self.send_raw(&answer[1..1537]).await
    }

    pub(crate) async fn send_connect(&mut self, app: &str) -> io::Result<()> {
        let tc_url = format!("rtmp://test/{app}");
        let properties = [
            ("app", Amf::Text(app)),
            ("type", Amf::Text("nonprivate")),
            ("flashVer", Amf::Text("weir-test/1.0")),
            ("tcUrl", Amf::Text(&tc_url)),
        ];
        self.send_command("connect", 1.0, &[Amf::Object(&properties)])
            .await
    }

    /// The four commands from `releaseStream` to `publish`, back to back as OBS does.
    pub(crate) async fn send_publish(&mut self, key: &str) -> io::Result<()> {
        self.send_command("releaseStream", 2.0, &[Amf::Null, Amf::Text(key)])
            .await?;
        self.send_command("FCPublish", 3.0, &[Amf::Null, Amf::Text(key)])
            .await?;
        self.send_command("createStream", 4.0, &[Amf::Null]).await?;
        self.send_command(
            "publish",
            5.0,
            &[Amf::Null, Amf::Text(key), Amf::Text("live")],
        )
        .await
    }

    pub(crate) async fn set_chunk_size(&mut self, size: u32) -> io::Result<()> {
        self.send_message(kind::SET_CHUNK_SIZE, 0, &size.to_be_bytes())
            .await?;
        self.chunk_size = usize::try_from(size).unwrap();
        Ok(())
    }

    /// A command: name, transaction, then the command object and arguments.
    pub(crate) async fn send_command(
        &mut self,
        name: &str,
        transaction: f64,
        arguments: &[Amf<'_>],
    ) -> io::Result<()> {
        let values = [&[Amf::Text(name), Amf::Number(transaction)], arguments].concat();
        self.send_message(kind::COMMAND_AMF0, 0, &amf(&values))
            .await
    }

    /// `@setDataFrame onMetaData`.
    pub(crate) async fn send_metadata(&mut self, properties: &[(&str, Amf<'_>)]) -> io::Result<()> {
        let names = [Amf::Text("@setDataFrame"), Amf::Text("onMetaData")];
        let body = amf(&[&names[..], &[Amf::Object(properties)]].concat());
        self.send_message(kind::DATA_AMF0, 0, &body).await
    }

    /// An FLV video tag body.
    pub(crate) async fn send_video(&mut self, timestamp: u32, body: &[u8]) -> io::Result<()> {
        self.send_message(kind::VIDEO, timestamp, body).await
    }

    /// An FLV audio tag body.
    pub(crate) async fn send_audio(&mut self, timestamp: u32, body: &[u8]) -> io::Result<()> {
        self.send_message(kind::AUDIO, timestamp, body).await
    }

    /// Any message, on a chunk stream of its kind.
    pub(crate) async fn send_message(
        &mut self,
        kind: u8,
        timestamp: u32,
        body: &[u8],
    ) -> io::Result<()> {
        let stream = match kind {
            kind::VIDEO => 6,
            kind::AUDIO => 4,
            1..8 => 2,
            _ => 3,
        };
        let how = Chunking {
            stream,
            size: self.chunk_size,
            repeats_extended: true,
        };
        self.send_raw(&chunks(how, kind, timestamp, body).concat())
            .await
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        patiently(self.stream.write_all(bytes)).await
    }

    /// One byte per segment, as far as the kernel goes along.
    pub(crate) async fn send_slowly(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            self.send_raw(&[*byte]).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Says goodbye as ffmpeg does, and waits for the server to close.
    pub(crate) async fn unpublish(mut self) -> io::Result<()> {
        self.send_command("FCUnpublish", 6.0, &[Amf::Null, Amf::Text("key")])
            .await?;
        self.send_command("deleteStream", 7.0, &[Amf::Null, Amf::Number(1.0)])
            .await?;
        self.expect_closed().await
    }

    /// Vanishes with a TCP reset, like a crash of the network.
    pub(crate) fn abort(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    /// Closes orderly on TCP without a word on RTMP, like a killed process.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// The next message from the server; `None` when it has closed.
    pub(crate) async fn next_message(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = self
                .reader
                .read(&mut self.input)
                .map_err(io::Error::other)?
            {
                return Ok(Some(message));
            }
            if patiently(self.stream.read_buf(&mut self.input)).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Skips to the next command of this name.
    pub(crate) async fn expect_command(&mut self, name: &str) -> io::Result<Vec<Value>> {
        while let Some(message) = self.next_message().await? {
            if message.kind == kind::COMMAND_AMF0 {
                let values = amf0::parse(&message.body).map_err(io::Error::other)?;
                if values.first().and_then(Value::as_str) == Some(name) {
                    return Ok(values);
                }
            }
        }
        Err(io::Error::other(format!("closed before {name}")))
    }

    /// Skips to the next `onStatus`.
    pub(crate) async fn expect_status(&mut self) -> io::Result<Status> {
        let values = self.expect_command("onStatus").await?;
        let field = |name| {
            let text = values
                .get(3)
                .and_then(|v| v.property(name))
                .and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        Ok(Status {
            level: field("level"),
            code: field("code"),
            description: field("description"),
        })
    }

    /// Reads until the server closes; a reset counts.
    pub(crate) async fn expect_closed(&mut self) -> io::Result<()> {
        loop {
            self.input.clear();
            match patiently(self.stream.read_buf(&mut self.input)).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

async fn patiently<T>(action: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, action)
        .await
        .map_err(io::Error::other)?
}
