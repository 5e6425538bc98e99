//! One publisher's connection: socket bytes to and from the session. Step 2 of the walk.
//!
//! In:  an accepted socket. Out: the gate is asked, media goes into its queue until
//! [`MediaEvent::End`], the encoder is told why it has to go. The only ingest file that awaits a
//! socket; everything in it has a deadline.
//! Not here: what bytes mean (`session`, `demux`).

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::demux::Demuxer;
use super::gate::{Gate, Publication, PublishRequest, Refusal, RefusalCode};
use super::listener::Config;
use super::media_queue::{EndReason, MediaEvent, MediaSender, Trouble};
use super::media_watch::{MediaWatch, after};
use super::session::{self, Event, Session};
use crate::base::stream::Stream;

/// Read buffer before and while publishing.
const NEGOTIATION_READ_BYTES: usize = 4 * 1024;
const MEDIA_READ_BYTES: usize = 32 * 1024;
/// Less room than this in the buffer: take a new one.
const MIN_READ_BYTES: usize = 2 * 1024;
/// How long the encoder may take to accept our few bytes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the encoder gets to read the last words; closing at once with unread bytes in the
/// kernel would throw them away.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection is closed, other than by an orderly unpublish.
#[derive(Debug, thiserror::Error)]
enum Closing {
    #[error("the encoder closed the connection")]
    EndOfFile,
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Session(#[from] session::Error),
    #[error("no {what} within {limit_ms} ms")]
    Deadline { what: &'static str, limit_ms: u64 },
    #[error("{}: {}", .0.code.as_str(), .0.description)]
    Refused(Refusal),
    #[error("the stream session has ended")]
    QueueClosed,
    #[error("the server cannot keep up with this stream")]
    QueueFull,
    #[error("server is stopping")]
    Stopping,
}

impl Closing {
    /// For metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::EndOfFile => "eof",
            Self::Io(_) => "io",
            Self::Session(_) => "protocol",
            Self::Deadline { .. } => "deadline",
            Self::Refused(_) => "refused",
            Self::QueueClosed => "session_ended",
            Self::QueueFull => "queue_full",
            Self::Stopping => "stopping",
        }
    }
}

/// An accepted socket and its session.
pub(super) struct Connection {
    stream: Stream,
    config: Arc<Config>,
    token: CancellationToken,
    session: Session,
    input: BytesMut,
    started: Instant,
    received: metrics::Counter,
}

impl Connection {
    pub(super) fn new(
        stream: Stream,
        remote: SocketAddr,
        config: Arc<Config>,
        token: CancellationToken,
    ) -> Self {
        Self {
            stream,
            config,
            token,
            session: Session::new(remote),
            input: BytesMut::new(),
            started: Instant::now(),
            received: metrics::counter!("weir_ingest_received_bytes_total"),
        }
    }

    /// Serves the publisher to its end. `unpublished` is held until it is accepted.
    pub(super) async fn run(mut self, gate: Arc<dyn Gate>, unpublished: OwnedSemaphorePermit) {
        let accepted = match self.negotiate().await {
            Ok(request) => self.ask(&*gate, request).await,
            Err(closing) => Err(closing),
        };
        drop(unpublished);
        let was_accepted = accepted.is_ok();
        let closing = match accepted {
            Ok(publication) => self.publish(publication).await,
            Err(closing) => Some(closing),
        };
        let label = closing.as_ref().map_or("unpublished", Closing::label);
        metrics::counter!("weir_ingest_closed_total", "reason" => label).increment(1);
        match &closing {
            None => tracing::info!("unpublished"),
            Some(Closing::Refused(refusal)) => tracing::info!(?refusal, "publisher refused"),
            Some(closing) if was_accepted => tracing::info!(%closing, "publisher lost"),
            // Port scanners and their kin.
            Some(closing) => tracing::debug!(%closing, "connection closed"),
        }
        if let Err(error) = self.say_goodbye(closing).await {
            tracing::debug!(%error, "the last words were not delivered");
        }
    }

    /// Handshake and commands up to `publish`.
    async fn negotiate(&mut self) -> Result<PublishRequest, Closing> {
        let mut limit_ms = self.config.handshake_timeout_ms;
        let mut deadline = after(self.started, limit_ms);
        let mut what = "handshake";
        loop {
            match self.session.poll(&mut self.input)? {
                Some(Event::Publish(request)) => {
                    self.flush().await?;
                    let is_encrypted = self.stream.is_encrypted();
                    return Ok(PublishRequest {
                        is_encrypted,
                        ..request
                    });
                }
                Some(_) => continue,
                None => self.flush().await?,
            }
            if what == "handshake" && self.session.has_shaken_hands() {
                what = "publish command";
                limit_ms = self.config.publish_timeout_ms;
                deadline = after(Instant::now(), limit_ms);
            }
            make_room(&mut self.input, NEGOTIATION_READ_BYTES);
            let read = tokio::select! {
                biased;
                () = self.token.cancelled() => return Err(Closing::Stopping),
                read = timeout_at(deadline, self.stream.read_buf(&mut self.input)) => read,
            };
            match read {
                Err(_) => return Err(Closing::Deadline { what, limit_ms }),
                Ok(read) => self.count(read?)?,
            }
        }
    }

    async fn ask(
        &mut self,
        gate: &dyn Gate,
        request: PublishRequest,
    ) -> Result<Publication, Closing> {
        let encoder = request.encoder.clone();
        let limit_ms = self.config.publish_timeout_ms;
        let answer = tokio::select! {
            biased;
            () = self.token.cancelled() => return Err(Closing::Stopping),
            answer = timeout(Duration::from_millis(limit_ms), gate.publish(request)) => answer,
        };
        let what = "answer from the gate";
        let publication = answer.map_err(|_| Closing::Deadline { what, limit_ms })?;
        let publication = publication.map_err(Closing::Refused)?;
        tracing::Span::current().record("session.id", &publication.session_id);
        tracing::info!(encoder, "publishing");
        Ok(publication)
    }

    /// Passes media on until the publication ends; the queue is told how. `None`: orderly.
    async fn publish(&mut self, mut publication: Publication) -> Option<Closing> {
        metrics::gauge!("weir_ingest_publishers").increment(1.0);
        let mut demuxer = Demuxer::new(publication.multitrack);
        let closing = match self.relay(&mut publication, &mut demuxer).await {
            Ok(()) => None,
            // Some encoders say no more than "end of sequence" before they close.
            Err(Closing::EndOfFile) if demuxer.has_ended() => None,
            Err(closing) => Some(closing),
        };
        let reason = match &closing {
            None => EndReason::Unpublished,
            Some(Closing::Refused(Refusal {
                event_code: Some(code),
                description,
                ..
            })) => EndReason::Refused {
                code,
                words: description.clone(),
            },
            Some(closing) => EndReason::Lost(closing.to_string()),
        };
        if self
            .deliver(&publication.media_tx, MediaEvent::End(reason))
            .await
            .is_err()
        {
            tracing::debug!("nobody waited for the end of the stream");
        }
        metrics::gauge!("weir_ingest_publishers").decrement(1.0);
        closing
    }

    async fn relay(
        &mut self,
        publication: &mut Publication,
        demuxer: &mut Demuxer,
    ) -> Result<(), Closing> {
        self.session.accept()?;
        let mut watch = MediaWatch::new(&self.config);
        let mut timer = pin!(sleep_until(watch.wake_at()));
        let mut stopping = pin!(self.token.clone().cancelled_owned());
        let mut is_stoppable = true;
        loop {
            if self.pass_on(publication, demuxer, &mut watch).await? {
                return Ok(());
            }
            self.flush().await?;
            make_room(&mut self.input, MEDIA_READ_BYTES);
            tokio::select! {
                biased;
                () = &mut stopping => return Err(Closing::Stopping),
                refusal = &mut publication.stop, if is_stoppable => match refusal {
                    Ok(refusal) => return Err(Closing::Refused(refusal)),
                    Err(_) => is_stoppable = false,
                },
                () = &mut timer => {
                    watch.check().map_err(|(what, limit_ms)| Closing::Deadline { what, limit_ms })?;
                    self.session.tick(self.started.elapsed())?;
                    timer.as_mut().reset(watch.wake_at());
                }
                read = self.stream.read_buf(&mut self.input) => self.count(read?)?,
            }
        }
    }

    /// Passes on everything that the input holds; true when the encoder has unpublished.
    async fn pass_on(
        &mut self,
        publication: &mut Publication,
        demuxer: &mut Demuxer,
        watch: &mut MediaWatch,
    ) -> Result<bool, Closing> {
        let now = self.started.elapsed();
        while let Some(event) = self.session.poll(&mut self.input)? {
            let media = match event {
                Event::Video { timestamp, body } => {
                    watch.saw_media = true;
                    demuxer
                        .video(timestamp, &body, now)
                        .map_err(Closing::Refused)?
                }
                Event::Audio { timestamp, body } => {
                    watch.saw_media = true;
                    demuxer
                        .audio(timestamp, &body, now)
                        .map_err(Closing::Refused)?
                }
                Event::Metadata(metadata) => {
                    demuxer.metadata(&metadata);
                    Some(MediaEvent::Metadata(metadata))
                }
                Event::Text(text) => Some(MediaEvent::Text(text)),
                Event::Unpublished => return Ok(true),
                Event::Publish(_) => None,
            };
            let mut next = media;
            while let Some(media) = next {
                let delivered = self.deliver(&publication.media_tx, media).await;
                delivered
                    .map_err(|closing| told_to_stop(&mut publication.stop).unwrap_or(closing))?;
                next = demuxer.rest();
            }
        }
        watch.note_media();
        let trouble = demuxer.take_trouble();
        if trouble != Trouble::default() {
            let dropped = trouble.dropped_units;
            metrics::counter!("weir_ingest_dropped_units_total").increment(dropped);
            // Only told: who is too busy to hear it has other worries.
            drop(publication.media_tx.try_send(MediaEvent::Trouble(trouble)));
        }
        Ok(false)
    }

    /// Hands an event to the stream session; waits a little if it is busy.
    async fn deliver(&self, media_tx: &MediaSender, event: MediaEvent) -> Result<(), Closing> {
        let Some(event) = media_tx.try_send(event).map_err(|_| Closing::QueueClosed)? else {
            return Ok(());
        };
        let patience = Duration::from_millis(self.config.queue_timeout_ms);
        match timeout(patience, media_tx.send(event)).await {
            Ok(sent) => sent.map_err(|_| Closing::QueueClosed),
            Err(_) => Err(Closing::QueueFull),
        }
    }

    fn count(&mut self, read: usize) -> Result<(), Closing> {
        self.received.increment(u64::try_from(read).unwrap_or(0));
        if read == 0 {
            Err(Closing::EndOfFile)
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<(), Closing> {
        let outgoing = self.session.take_outgoing();
        if !outgoing.is_empty() {
            let write = async {
                self.stream.write_all(&outgoing).await?;
                self.stream.flush().await
            };
            let written = timeout(WRITE_TIMEOUT, write).await;
            written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
        Ok(())
    }

    /// Tells the encoder why it has to go, and lets it read that.
    async fn say_goodbye(&mut self, closing: Option<Closing>) -> Result<(), Closing> {
        let has_shaken_hands = self.session.has_shaken_hands();
        match closing {
            Some(Closing::EndOfFile | Closing::Io(_)) => return Ok(()),
            Some(Closing::Refused(refusal)) => self.session.refuse(&refusal)?,
            Some(Closing::Stopping) => self.session.stop()?,
            Some(other) if has_shaken_hands => {
                let code = match other {
                    Closing::Session(_) => RefusalCode::Rejected,
                    _ => RefusalCode::Failed,
                };
                self.session
                    .refuse(&Refusal::new(code, other.to_string()))?;
            }
            _ => {}
        }
        self.flush().await?;
        let shut = timeout(WRITE_TIMEOUT, self.stream.shutdown()).await;
        shut.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let drain = async {
            self.input = BytesMut::with_capacity(NEGOTIATION_READ_BYTES);
            while self.stream.read_buf(&mut self.input).await? > 0 {
                self.input.clear();
            }
            Ok(())
        };
        timeout(LINGER, drain).await.unwrap_or(Ok(()))
    }
}

/// A stream session that dropped its queue may have said why.
fn told_to_stop(stop: &mut oneshot::Receiver<Refusal>) -> Option<Closing> {
    stop.try_recv().ok().map(Closing::Refused)
}

/// Room for a read. A buffer whose bytes live on in samples is replaced, not grown.
fn make_room(input: &mut BytesMut, read_bytes: usize) {
    if input.capacity().saturating_sub(input.len()) < MIN_READ_BYTES {
        input.reserve(read_bytes);
    }
}
