//! The RTMP room alone, with a gate that hands its publishers to the test.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use weir::base::tasks::Tasks;
use weir::ingest::{
    Config, EndReason, Gate, MediaEvent, MediaReceiver, MultitrackInput, Publication,
    PublishRequest, Refusal, RefusalCode, media_queue,
};
use weir::media::Sample;

use super::rtmp_client::{PATIENCE, Publisher};

/// A publisher as its stream session would see it.
pub(crate) struct Published {
    pub(crate) request: PublishRequest,
    pub(crate) media: MediaReceiver,
    pub(crate) stop: oneshot::Sender<Refusal>,
}

/// Lets everyone in whose key begins with "good".
struct TestGate {
    published_tx: mpsc::Sender<Published>,
    queue_events: usize,
}

#[async_trait]
impl Gate for TestGate {
    async fn publish(&self, request: PublishRequest) -> Result<Publication, Refusal> {
        if !request.stream_key.expose().starts_with("good") {
            return Err(Refusal::new(RefusalCode::BadName, "no such stream key"));
        }
        let (media_tx, media) = media_queue(self.queue_events, 64 << 20);
        let (stop_tx, stop) = oneshot::channel();
        let published = Published {
            request,
            media,
            stop: stop_tx,
        };
        self.published_tx.send(published).await.unwrap();
        Ok(Publication {
            media_tx,
            stop,
            session_id: "st-test".to_owned(),
            multitrack: MultitrackInput::default(),
        })
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tasks: Tasks,
    pub(crate) published_rx: mpsc::Receiver<Published>,
}

impl Server {
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_with_queue(config, 10_000).await
    }

    pub(crate) async fn start_with_queue(config: Config, queue_events: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (published_tx, published_rx) = mpsc::channel(10);
        let gate = Arc::new(TestGate {
            published_tx,
            queue_events,
        });
        let tasks = Tasks::new();
        tasks.spawn(
            "rtmp listener",
            weir::ingest::Server::new(config, gate, tasks.clone()).listen(listener),
        );
        Self {
            address,
            tasks,
            published_rx,
        }
    }

    /// A publisher who was let in, from both sides.
    pub(crate) async fn publisher(&mut self) -> (Publisher, Published) {
        let publisher = Publisher::connect(self.address, "live", "good")
            .await
            .unwrap();
        (publisher, self.published_rx.recv().await.unwrap())
    }

    /// A publisher who is about to say `connect`.
    async fn shaken(&self) -> Publisher {
        let mut publisher = Publisher::dial(self.address).await.unwrap();
        publisher.handshake().await.unwrap();
        publisher
    }

    /// A publisher who is about to say `publish`.
    pub(crate) async fn connected(&self) -> Publisher {
        let mut publisher = self.shaken().await;
        publisher.send_connect("live").await.unwrap();
        publisher
    }
}

impl Published {
    pub(crate) async fn next(&mut self) -> MediaEvent {
        let event = tokio::time::timeout(PATIENCE, self.media.recv()).await;
        event.unwrap().expect("the queue ends with End")
    }

    pub(crate) async fn sample(&mut self) -> Sample {
        match self.next().await {
            MediaEvent::Sample(sample) => sample,
            other => panic!("{other:?} is no sample"),
        }
    }

    /// Everything up to and with the end.
    pub(crate) async fn rest(&mut self) -> (Vec<MediaEvent>, EndReason) {
        let mut events = vec![];
        loop {
            match self.next().await {
                MediaEvent::End(reason) => return (events, reason),
                event => events.push(event),
            }
        }
    }
}
