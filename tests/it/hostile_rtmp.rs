//! The RTMP room against encoders, attackers and accidents, without the rooms behind it.

use std::future::Future;
use std::net::SocketAddr;

use futures_util::future::join_all;
use weir::ingest::chunk::kind;
use weir::ingest::{Config, EndReason, MediaEvent, Refusal, RefusalCode};
use weir::media::{Sample, TrackKind};

use crate::support::rtmp_client::{
    Amf, Chunking, PATIENCE, Publisher, Status, aac_config, aac_frame, avc_config, chunks,
    inter_frame, key_frame,
};
use crate::support::rtmp_server::{Published, Server};

fn lost(words: &str) -> EndReason {
    EndReason::Lost(words.to_owned())
}

fn status(code: &str, description: &str) -> Status {
    let level = if code.ends_with("Closed") {
        "status"
    } else {
        "error"
    };
    Status {
        level: level.to_owned(),
        code: code.to_owned(),
        description: description.to_owned(),
    }
}

#[tokio::test]
async fn an_encoder_publishes_and_unpublishes() {
    let mut server = Server::start(Config::default()).await;
    let (mut publisher, mut published) = server.publisher().await;
    assert_eq!(published.request.app, "live");
    assert_eq!(published.request.encoder, "weir-test/1.0");
    publisher
        .send_metadata(&[
            ("framerate", Amf::Number(30.0)),
            ("width", Amf::Number(640.0)),
        ])
        .await
        .unwrap();
    publisher.send_video(0, &avc_config()).await.unwrap();
    publisher.send_audio(0, &aac_config()).await.unwrap();
    for n in 0..60u32 {
        let body = if n % 30 == 0 {
            key_frame(20_000, 1)
        } else {
            inter_frame(5_000, 2)
        };
        publisher.send_video(n * 1000 / 30, &body).await.unwrap();
        publisher
            .send_audio(n * 64 / 3, &aac_frame(300, 3))
            .await
            .unwrap();
    }
    publisher.unpublish().await.unwrap();

    let (events, end) = published.rest().await;
    assert_eq!(end, EndReason::Unpublished);
    let [
        MediaEvent::Metadata(metadata),
        MediaEvent::VideoConfig(video),
        MediaEvent::AudioConfig(audio),
        samples @ ..,
    ] = &events[..]
    else {
        panic!("{:?}", &events[..4])
    };
    assert_eq!(
        (metadata.frame_rate, video.width, audio.sample_rate()),
        (Some(30.0), 640, 48_000)
    );
    let samples: Vec<&Sample> = samples
        .iter()
        .map(|event| match event {
            MediaEvent::Sample(sample) => sample,
            other => panic!("{other:?} among the samples"),
        })
        .collect();
    let track = |kind| samples.iter().filter(move |s| s.track == kind);
    let times = |kind| track(kind).map(|s| s.dts).collect::<Vec<_>>();
    let (video, audio) = (times(TrackKind::Video), times(TrackKind::Audio));
    assert_eq!(
        video,
        (0..60).map(|n| video[0] + n * 3000).collect::<Vec<_>>()
    );
    assert_eq!(
        audio,
        (0..60).map(|n| audio[0] + n * 1024).collect::<Vec<_>>()
    );
    assert_eq!(video[0] / 90, audio[0] / 48);
    let syncs: Vec<bool> = track(TrackKind::Video).map(|s| s.is_sync).collect();
    assert_eq!(syncs, (0..60).map(|n| n % 30 == 0).collect::<Vec<_>>());
    server.tasks.stop().await;
}

#[tokio::test]
async fn legal_oddities_come_through() {
    let mut server = Server::start(Config::default()).await;
    let (mut publisher, mut published) = server.publisher().await;
    publisher.send_video(0, &avc_config()).await.unwrap();
    publisher.send_audio(0, &aac_config()).await.unwrap();
    published.next().await;
    published.next().await;

    // Chunks of audio between the chunks of a picture, in both manners of extended timestamps.
    for (repeats_extended, time) in [(true, 0x0100_0000), (false, 0x0100_0040)] {
        let picture = key_frame(10_000, 7);
        let sound = aac_frame(9_000, 8);
        let how = |stream| Chunking {
            stream,
            size: 4096,
            repeats_extended,
        };
        let video = chunks(how(20), kind::VIDEO, time, &picture);
        let audio = chunks(how(21), kind::AUDIO, time, &sound);
        for (v, a) in video.iter().zip(&audio) {
            publisher.send_raw(v).await.unwrap();
            publisher.send_raw(a).await.unwrap();
        }
        let (v, a) = (published.sample().await, published.sample().await);
        assert_eq!(
            (v.data, a.data),
            (picture[5..].to_vec().into(), sound[2..].to_vec().into())
        );
    }
    // The smallest segments TCP can make of it.
    let how = Chunking {
        stream: 6,
        size: 4096,
        repeats_extended: true,
    };
    let picture = inter_frame(300, 9);
    publisher
        .send_slowly(&chunks(how, kind::VIDEO, 0x0100_0080, &picture).concat())
        .await
        .unwrap();
    assert_eq!(published.sample().await.data, picture[5..]);
    // Nested deeper than any stack: ignored. So are empty media messages and unknown kinds.
    let bomb = b"\x03\x00\x01a".repeat(15_000);
    publisher
        .send_message(kind::COMMAND_AMF0, 0, &bomb)
        .await
        .unwrap();
    publisher
        .send_message(kind::DATA_AMF0, 0, &[0x0A, 0, 0, 0, 1].repeat(12_000))
        .await
        .unwrap();
    publisher.send_video(1, &[]).await.unwrap();
    publisher.send_audio(1, &[0xaf]).await.unwrap();
    publisher.send_message(99, 0, b"?").await.unwrap();
    publisher
        .send_video(0x0100_00A0, &inter_frame(10, 1))
        .await
        .unwrap();
    assert_eq!(published.sample().await.data.len(), 14);
    publisher.unpublish().await.unwrap();
    assert_eq!(published.rest().await, (vec![], EndReason::Unpublished));
    server.tasks.stop().await;
}

#[tokio::test]
async fn the_query_is_found_and_a_wrong_key_is_told() {
    let mut server = Server::start(Config::default()).await;
    let publisher = Publisher::connect(server.address, "live?a=1", "good?token=x%26y")
        .await
        .unwrap();
    let published = server.published_rx.recv().await.unwrap();
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(
        published.request.query,
        [pair("token", "x&y"), pair("a", "1")]
    );
    drop(publisher);

    let mut wrong = server.connected().await;
    wrong.send_publish("wrong").await.unwrap();
    let told = wrong.expect_status().await.unwrap();
    assert_eq!(
        told,
        status("NetStream.Publish.BadName", "no such stream key")
    );
    wrong.expect_closed().await.unwrap();
    server.tasks.stop().await;
}

/// Sends what `attack` sends while a good publisher is at work; every frame of that must arrive.
async fn beside_a_good_publisher<F: Future<Output = ()>>(
    config: Config,
    attack: impl FnOnce(SocketAddr) -> F,
) {
    let mut server = Server::start(config).await;
    let (mut publisher, mut published) = server.publisher().await;
    publisher.send_video(0, &avc_config()).await.unwrap();
    published.next().await;
    let good = async {
        for n in 0..200u32 {
            publisher
                .send_video(n * 40, &key_frame(2_000, 1))
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(good, attack(server.address));
    publisher
        .send_video(8_000, &key_frame(2_000, 1))
        .await
        .unwrap();
    publisher.unpublish().await.unwrap();
    let (events, end) = published.rest().await;
    assert_eq!((events.len(), end), (201, EndReason::Unpublished));
    server.tasks.stop().await;
}

/// Deadlines short enough to wait for.
fn impatient() -> Config {
    Config {
        handshake_timeout_ms: 300,
        publish_timeout_ms: 300,
        ..Config::default()
    }
}

#[tokio::test]
async fn other_protocols_and_half_handshakes_are_closed() {
    beside_a_good_publisher(impatient(), |server| async move {
        let half = [&[3][..], &[0; 1000]].concat();
        let no_c2 = [&[3][..], &[0; 1536]].concat();
        let cases: [&[u8]; 6] = [
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            &[6; 1537],
            &[0x16, 3, 1],
            &half,
            &no_c2,
        ];
        for bytes in cases {
            let mut attacker = Publisher::dial(server).await.unwrap();
            attacker.send_raw(bytes).await.unwrap();
            attacker.expect_closed().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn garbage_after_the_handshake_is_closed() {
    let attack = |server, seed: u32| async move {
        let mut attacker = Publisher::dial(server).await.unwrap();
        attacker.handshake().await.unwrap();
        let noise = |n: u32| n.wrapping_mul(2_654_435_761).wrapping_add(seed << 20) >> 16;
        let garbage: Vec<u8> = (0..5000)
            .map(|n| noise(n ^ seed).to_be_bytes()[3])
            .collect();
        // It may be closed before all of it is sent.
        attacker.send_raw(&garbage).await.ok();
        attacker.expect_closed().await.unwrap();
    };
    beside_a_good_publisher(impatient(), |server| async move {
        join_all((0..16).map(|seed| attack(server, seed))).await;
    })
    .await;
}

#[tokio::test]
async fn floods_are_cut_off_with_words() {
    let server = Server::start(Config::default()).await;
    let refused = |words: &str| status("NetStream.Publish.Rejected", words);

    let mut attacker = server.connected().await;
    for n in 0..20 {
        attacker
            .send_command("createStream", f64::from(n), &[Amf::Null])
            .await
            .ok();
    }
    assert_eq!(
        attacker.expect_status().await.unwrap(),
        refused("more than 8 streams")
    );
    attacker.expect_closed().await.unwrap();

    let mut attacker = server.connected().await;
    for n in 0..100 {
        attacker
            .send_command("nothing", f64::from(n), &[])
            .await
            .ok();
    }
    let words = "more than 64 commands before publishing";
    assert_eq!(attacker.expect_status().await.unwrap(), refused(words));

    for (kind, length) in [(kind::VIDEO, 0x00FF_FFFFu32), (kind::COMMAND_AMF0, 65_537)] {
        let mut attacker = server.connected().await;
        let mut header = vec![6, 0, 0, 0];
        header.extend(&length.to_be_bytes()[1..]);
        header.extend([kind, 1, 0, 0, 0]);
        attacker.send_raw(&header).await.unwrap();
        let words =
            format!("message of type {kind} with {length} bytes, at most 65536 are taken now");
        assert_eq!(attacker.expect_status().await.unwrap(), refused(&words));
    }

    let mut attacker = server.connected().await;
    let flood: Vec<u8> = (0..100).flat_map(|n| [0xC0, n]).collect();
    attacker.send_raw(&flood).await.unwrap();
    assert_eq!(
        attacker.expect_status().await.unwrap(),
        refused("more than 64 chunk streams")
    );

    // Unfinished messages on many chunk streams, each within its own limit.
    let mut attacker = server.connected().await;
    for stream in 10..60 {
        let how = Chunking {
            stream,
            size: 128,
            repeats_extended: false,
        };
        let all = chunks(how, kind::VIDEO, 0, &vec![0; 60_000]);
        attacker.send_raw(&all[..all.len() - 1].concat()).await.ok();
    }
    let words = "unfinished messages hold more than 262144 bytes";
    assert_eq!(attacker.expect_status().await.unwrap(), refused(words));

    let mut attacker = server.connected().await;
    attacker
        .send_message(kind::SET_CHUNK_SIZE, 0, &[0; 4])
        .await
        .unwrap();
    assert_eq!(
        attacker.expect_status().await.unwrap(),
        refused("impossible chunk size")
    );

    let mut player = server.connected().await;
    player
        .send_command("play", 0.0, &[Amf::Null, Amf::Text("good")])
        .await
        .unwrap();
    assert_eq!(
        player.expect_status().await.unwrap(),
        refused("this port takes publishers only")
    );
    server.tasks.stop().await;
}

#[tokio::test]
async fn nested_amf_before_publishing_changes_nothing() {
    let mut server = Server::start(Config::default()).await;
    let mut publisher = server.connected().await;
    publisher
        .send_message(kind::COMMAND_AMF0, 0, &[0x0A, 0, 0, 0, 1].repeat(13_000))
        .await
        .unwrap();
    publisher
        .send_message(kind::DATA_AMF0, 0, &[2, 0, 13])
        .await
        .unwrap();
    publisher
        .send_message(kind::COMMAND_AMF0, 0, &vec![5; 60_000])
        .await
        .unwrap();
    publisher.send_publish("good").await.unwrap();
    assert_eq!(
        publisher.expect_status().await.unwrap().code,
        "NetStream.Publish.Start"
    );
    assert!(server.published_rx.recv().await.is_some());
    server.tasks.stop().await;
}

#[tokio::test]
async fn every_deadline_closes_with_words() {
    let config = Config {
        first_media_timeout_ms: 300,
        silence_timeout_ms: 300,
        ..impatient()
    };
    let mut server = Server::start(config).await;
    let failed = |words: &str| status("NetStream.Failed", words);

    let mut idle = server.connected().await;
    assert_eq!(
        idle.expect_status().await.unwrap(),
        failed("no publish command within 300 ms")
    );
    idle.expect_closed().await.unwrap();

    let (mut mute, mut published) = server.publisher().await;
    // Words are not media.
    mute.send_metadata(&[]).await.unwrap();
    let words = "no first audio or video within 300 ms";
    assert_eq!(mute.expect_status().await.unwrap(), failed(words));
    assert_eq!(published.rest().await.1, lost(words));

    let (mut silent, mut published) = server.publisher().await;
    silent.send_video(0, &avc_config()).await.unwrap();
    let words = "no audio or video within 300 ms";
    assert_eq!(silent.expect_status().await.unwrap(), failed(words));
    assert_eq!(published.rest().await.1, lost(words));
    server.tasks.stop().await;
}

#[tokio::test]
async fn ends_are_told_apart() {
    let mut server = Server::start(Config::default()).await;
    let sequence_end: &[u8] = &[0x17, 2, 0, 0, 0];
    for (last, end) in [
        (sequence_end, EndReason::Unpublished),
        (&key_frame(10, 0), lost("the encoder closed the connection")),
    ] {
        let (mut publisher, mut published) = server.publisher().await;
        publisher.send_video(0, &avc_config()).await.unwrap();
        publisher.send_video(0, last).await.unwrap();
        publisher.close().await.unwrap();
        assert_eq!(published.rest().await.1, end);
    }

    let (mut publisher, mut published) = server.publisher().await;
    publisher.send_video(0, &avc_config()).await.unwrap();
    published.next().await;
    publisher.abort().unwrap();
    let (_, end) = published.rest().await;
    assert!(
        matches!(&end, EndReason::Lost(words) if words.starts_with("connection: ")),
        "{end:?}"
    );
    server.tasks.stop().await;
}

#[tokio::test]
async fn codecs_that_are_not_carried_are_named() {
    let mut server = Server::start(Config::default()).await;
    let (mut vvc, mut published) = server.publisher().await;
    vvc.send_video(0, b"\x90vvc1vvcC").await.unwrap();
    let words = "VVC is not supported, set the encoder to H.264, HEVC, AV1 or VP9";
    assert_eq!(
        vvc.expect_status().await.unwrap(),
        status("NetStream.Publish.Rejected", words)
    );
    vvc.expect_closed().await.unwrap();
    let end = lost(&format!("NetStream.Publish.Rejected: {words}"));
    assert_eq!(published.rest().await, (vec![], end));

    let (mut speex, mut published) = server.publisher().await;
    speex.send_video(0, &avc_config()).await.unwrap();
    speex.send_audio(0, b"\xb2data").await.unwrap();
    speex.send_video(0, &key_frame(10, 0)).await.unwrap();
    assert!(matches!(published.next().await, MediaEvent::VideoConfig(_)));
    let notice = MediaEvent::Notice("Speex is not carried, set the encoder to AAC".to_owned());
    assert_eq!(published.next().await, notice);
    assert!(published.sample().await.is_sync);
    server.tasks.stop().await;
}

#[tokio::test]
async fn the_server_ends_a_publication_with_words() {
    let mut server = Server::start(Config::default()).await;
    let (mut replaced, published) = server.publisher().await;
    let Published {
        mut media, stop, ..
    } = published;
    stop.send(Refusal::new(
        RefusalCode::Failed,
        "another encoder took over",
    ))
    .unwrap();
    let told = status("NetStream.Failed", "another encoder took over");
    assert_eq!(replaced.expect_status().await.unwrap(), told);
    replaced.expect_closed().await.unwrap();
    let end = MediaEvent::End(lost("NetStream.Failed: another encoder took over"));
    assert_eq!(media.recv().await, Some(end));

    let (mut orphan, published) = server.publisher().await;
    drop(published);
    orphan.send_video(0, &avc_config()).await.unwrap();
    let told = status("NetStream.Failed", "the stream session has ended");
    assert_eq!(orphan.expect_status().await.unwrap(), told);

    let (mut last, mut published) = server.publisher().await;
    let mut negotiating = server.connected().await;
    negotiating.expect_command("_result").await.unwrap();
    let ((), told) = tokio::join!(server.tasks.stop(), last.expect_status());
    let stopping = status("NetConnection.Connect.Closed", "the server is stopping");
    assert_eq!(told.unwrap(), stopping);
    assert_eq!(negotiating.expect_status().await.unwrap(), stopping);
    assert_eq!(published.rest().await.1, lost("server is stopping"));
}

#[tokio::test]
async fn a_session_that_takes_nothing_does_not_hold_the_connection_for_ever() {
    let config = Config {
        queue_timeout_ms: 200,
        ..Config::default()
    };
    let mut server = Server::start_with_queue(config, 2).await;
    let (mut publisher, mut published) = server.publisher().await;
    publisher.send_video(0, &avc_config()).await.unwrap();
    for n in 0..10 {
        publisher
            .send_video(n * 40, &key_frame(10, 0))
            .await
            .unwrap();
    }
    let told = status(
        "NetStream.Failed",
        "the server cannot keep up with this stream",
    );
    assert_eq!(publisher.expect_status().await.unwrap(), told);
    assert!(matches!(published.next().await, MediaEvent::VideoConfig(_)));
    server.tasks.stop().await;
}

#[tokio::test]
async fn limits_turn_connections_away_and_give_places_back() {
    let config = Config {
        max_connections: 2,
        ..Config::default()
    };
    let mut server = Server::start(config).await;
    let (first, _published) = server.publisher().await;
    let (_second, _published) = server.publisher().await;
    let mut third = Publisher::dial(server.address).await.unwrap();
    third.expect_closed().await.unwrap();
    first.unpublish().await.unwrap();
    // The place is free once the connection's task has ended.
    let again = async {
        while Publisher::connect(server.address, "live", "good")
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    server.tasks.stop().await;
}
