//! Channels, stream keys and epochs: every case on SQLite and on PostgreSQL.

use std::sync::Arc;

use sqlx::{Executor as _, SqlSafeStr as _};
use tempfile::TempDir;
use weir::base::clock::WallTime;
use weir::db::connect::Location;
use weir::db::seal::Sealer;
use weir::db::{Access, Db, Repository, STATEMENTS};
use weir::model::channel::{
    ChannelType, ContainerFormat, LatencyMode, Multitrack, Preset, Settings,
};
use weir::model::repository::{
    ChannelRepository as _, EPOCH_MSN_RESERVE, Epoch, EpochRepository as _, Error, NO_LIMIT, Page,
    RunningEpoch, StreamKeyRepository as _,
};
use weir::model::{Channel, ChannelId, StreamKey, StreamKeyValue};

use crate::support::postgres;

const SECRET: &str = "a secret key of 32 characters ok";

/// A database of its own for one test.
pub(crate) struct Place {
    url: String,
    _folder: Option<TempDir>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("weir.db").display());
        Self {
            url,
            _folder: Some(folder),
        }
    }

    pub(crate) async fn postgres() -> Self {
        Self {
            url: postgres::empty_database().await,
            _folder: None,
        }
    }

    /// What a process sees that starts on this database.
    pub(crate) async fn open(&self) -> Repository {
        self.open_with(SECRET).await
    }

    async fn open_with(&self, secret: &str) -> Repository {
        let location: Location = self.url.parse().unwrap();
        let db = Db::connect(&location, Access::Create, 4).await.unwrap();
        db.migrate().await.unwrap();
        Repository::new(db, Sealer::new(secret))
    }
}

/// Each case twice, as `sqlite::case` and `postgres::case`.
macro_rules! on_both {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $case() { super::$case(super::Place::sqlite()).await })+
        }
        mod on_postgres {
            $(#[tokio::test] async fn $case() {
                super::$case(super::Place::postgres().await).await
            })+
        }
    };
}
pub(crate) use on_both;

on_both!(
    every_statement_prepares,
    migrations_run_once,
    a_channel_survives_the_way_to_the_database_and_back,
    channels_are_listed_in_order_of_creation,
    a_channel_and_its_key_are_made_and_go_together,
    a_channel_has_one_key,
    only_the_right_key_opens_its_channel,
    secrets_lie_sealed,
    a_key_sealed_with_another_secret_is_an_error,
    epochs_follow_one_another,
    a_crash_never_reuses_a_number,
    concurrent_epochs_never_share_a_number,
    an_older_epoch_can_no_longer_move_anything,
    a_dead_epoch_can_be_continued,
    only_epochs_that_nobody_ended_run,
    an_epoch_that_is_given_up_runs_no_more,
    what_does_not_exist_is_not_found,
);

pub(crate) fn channel(name: &str, created_ms: i64) -> Channel {
    let settings = Settings {
        name: Some(name.to_owned()),
        ..Settings::default()
    };
    Channel::create(&settings, WallTime(created_ms)).unwrap()
}

pub(crate) async fn stored(
    repository: &Repository,
    name: &str,
    created_ms: i64,
) -> (Channel, StreamKey) {
    let channel = channel(name, created_ms);
    let key = StreamKey::create(&channel.id, "us-east-1", channel.created);
    repository
        .create_channel(&channel, &key, NO_LIMIT)
        .await
        .unwrap();
    (channel, key)
}

async fn every_statement_prepares(place: Place) {
    let repository = place.open().await;
    let statements: Vec<&'static str> = STATEMENTS.iter().copied().flatten().copied().collect();
    assert!(statements.len() > 12);
    for sql in statements {
        let prepared = match repository.db() {
            Db::Lite(pool) => pool.prepare(sql.into_sql_str()).await.map(drop),
            Db::Pg(pool) => pool.prepare(sql.into_sql_str()).await.map(drop),
        };
        assert!(prepared.is_ok(), "{sql}: {prepared:?}");
    }
}

async fn migrations_run_once(place: Place) {
    let location: Location = place.url.parse().unwrap();
    let db = Db::connect(&location, Access::Create, 1).await.unwrap();
    let (before, total) = db.migrations().await.unwrap();
    assert_eq!(before, 0);
    for _ in 0..2 {
        db.migrate().await.unwrap();
        assert_eq!(db.migrations().await.unwrap(), (total, total));
    }
}

async fn a_channel_survives_the_way_to_the_database_and_back(place: Place) {
    let repository = place.open().await;
    let (plain, _) = stored(&repository, "plain", 1).await;
    assert_eq!(
        repository.load_channel(&plain.id).await.unwrap(),
        Some(plain.clone())
    );
    let every_setting = Settings {
        name: Some("other_name-2".to_owned()),
        channel_type: Some(ChannelType::AdvancedHd),
        latency_mode: Some(LatencyMode::Normal),
        preset: Some(Preset::ConstrainedBandwidth),
        container_format: Some(ContainerFormat::FragmentedMp4),
        is_authorized: Some(true),
        is_insecure_ingest: Some(true),
        part_target_ms: Some(500),
        multitrack: Some(Multitrack::default()),
        recording_configuration_arn: Some("arn:r".to_owned()),
        playback_restriction_policy_arn: Some("arn:p".to_owned()),
        ad_configuration_arn: None,
        failover_slate_configuration_arn: Some("arn:s".to_owned()),
    };
    let changed = plain.update(&every_setting).unwrap();
    repository.save_channel(&changed).await.unwrap();
    let again = place.open().await;
    assert_eq!(
        again.load_channel(&plain.id).await.unwrap(),
        Some(changed.clone())
    );
    let reset = Settings {
        part_target_ms: Some(0),
        ..Settings::default()
    };
    let reset = changed.update(&reset).unwrap();
    repository.save_channel(&reset).await.unwrap();
    assert_eq!(again.load_channel(&plain.id).await.unwrap(), Some(reset));
}

async fn channels_are_listed_in_order_of_creation(place: Place) {
    let repository = place.open().await;
    let mut expected = Vec::new();
    // Negative times and ties: pages must neither repeat nor lose a row at their edges.
    for (name, created_ms) in [
        ("c", 30),
        ("a", -10),
        ("b", 20),
        ("b", 20),
        ("b", 20),
        ("d", 40),
    ] {
        expected.push(stored(&repository, name, created_ms).await.0);
    }
    expected.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    for limit in [1, 2, 100] {
        let mut listed: Vec<Channel> = Vec::new();
        loop {
            let after = listed
                .last()
                .map(|last| (last.created, last.id.to_string()));
            let page = repository
                .list_channels(&Page { after, limit })
                .await
                .unwrap();
            if page.is_empty() {
                break;
            }
            listed.extend(page);
        }
        assert_eq!(listed, expected, "pages of {limit}");
    }
    let oldest = expected.iter().find(|channel| channel.name == "b").unwrap();
    assert_eq!(
        repository.find_channel("b").await.unwrap().as_ref(),
        Some(oldest)
    );
    assert_eq!(repository.find_channel("B").await.unwrap(), None);
}

async fn a_channel_and_its_key_are_made_and_go_together(place: Place) {
    let repository = place.open().await;
    let (first, key) = stored(&repository, "first", 1).await;
    // The key's id is taken: the channel must not be left behind without one.
    let second = channel("second", 2);
    let stolen = StreamKey {
        channel_id: second.id.clone(),
        ..key.clone()
    };
    assert!(
        repository
            .create_channel(&second, &stolen, NO_LIMIT)
            .await
            .is_err()
    );
    assert_eq!(repository.load_channel(&second.id).await.unwrap(), None);

    repository.begin_epoch(&first.id).await.unwrap();
    repository.delete_channel(&first.id).await.unwrap();
    assert_eq!(repository.load_channel(&first.id).await.unwrap(), None);
    assert!(
        repository
            .load_stream_key(key.id())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        repository
            .channel_of_key(key.value.expose())
            .await
            .unwrap()
            .is_none()
    );
}

async fn a_channel_has_one_key(place: Place) {
    let repository = place.open().await;
    let (channel, first) = stored(&repository, "one", 1).await;
    let second = StreamKey::create(&channel.id, "us-east-1", WallTime(2));
    let refused = repository.create_stream_key(&second).await;
    assert!(matches!(refused, Err(Error::Exists)), "{refused:?}");

    repository.delete_stream_key(first.id()).await.unwrap();
    assert!(
        repository
            .stream_key_of(&channel.id)
            .await
            .unwrap()
            .is_none()
    );
    repository.create_stream_key(&second).await.unwrap();
    let now = repository
        .stream_key_of(&channel.id)
        .await
        .unwrap()
        .unwrap();
    assert!(now.value.matches(&second.value));
    assert_eq!(
        (now.channel_id, now.created),
        (channel.id.clone(), WallTime(2))
    );
    assert!(
        repository
            .channel_of_key(first.value.expose())
            .await
            .unwrap()
            .is_none()
    );
    let found = repository
        .channel_of_key(second.value.expose())
        .await
        .unwrap();
    assert_eq!(found, Some(channel));
}

async fn only_the_right_key_opens_its_channel(place: Place) {
    let repository = place.open().await;
    let (first, key) = stored(&repository, "first", 1).await;
    let (_, other) = stored(&repository, "second", 2).await;
    let found = repository.channel_of_key(key.value.expose()).await.unwrap();
    assert_eq!(found, Some(first));

    let secret = |key: &StreamKey| key.value.expose().rsplit('_').next().unwrap().to_owned();
    let mut wrong_end = key.value.expose().to_owned();
    let last = if wrong_end.pop() == Some('x') {
        'y'
    } else {
        'x'
    };
    wrong_end.push(last);
    for text in [
        String::new(),
        "live".to_owned(),
        wrong_end,
        format!("{}x", key.value.expose()),
        format!("sk_us-east-1_{}_{}", key.id(), secret(&other)),
        format!("sk_eu-west-1_{}_{}", key.id(), secret(&key)),
        StreamKeyValue::random("us-east-1").expose().to_owned(),
    ] {
        assert_eq!(
            repository.channel_of_key(&text).await.unwrap(),
            None,
            "{text}"
        );
    }
}

async fn secrets_lie_sealed(place: Place) {
    const SQL: &str = "SELECT sealed_value FROM stream_keys";
    let repository = place.open().await;
    let (_, key) = stored(&repository, "sealed", 1).await;
    let bytes: Vec<u8> = match repository.db() {
        Db::Lite(pool) => sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap(),
        Db::Pg(pool) => sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap(),
    };
    let secret = key.value.expose().rsplit('_').next().unwrap().as_bytes();
    assert!(bytes.len() > secret.len());
    assert!(
        !bytes
            .windows(8)
            .any(|window| secret.windows(8).any(|part| part == window))
    );
}

async fn a_key_sealed_with_another_secret_is_an_error(place: Place) {
    let (channel, key) = stored(&place.open().await, "sealed", 1).await;
    let other = place.open_with("another secret key of 32 letters").await;
    let read = other.stream_key_of(&channel.id).await;
    assert!(matches!(read, Err(Error::Sealed)), "{read:?}");
    // Not "no such key": the publisher is told to come back, the operator what is wrong.
    let found = other.channel_of_key(key.value.expose()).await;
    assert!(matches!(found, Err(Error::Sealed)), "{found:?}");
}

async fn epochs_follow_one_another(place: Place) {
    let repository = place.open().await;
    let (channel, _) = stored(&repository, "live", 1).await;
    let (other, _) = stored(&repository, "other", 2).await;
    let first = repository.begin_epoch(&channel.id).await.unwrap();
    assert_eq!((first.number, first.first_msn), (1, 1));
    repository.end_epoch(&channel.id, 1, 42).await.unwrap();
    let second = repository.begin_epoch(&channel.id).await.unwrap();
    assert_eq!((second.number, second.first_msn), (2, 42));
    // Ended before anything was used.
    repository.end_epoch(&channel.id, 2, 42).await.unwrap();
    let third = repository.begin_epoch(&channel.id).await.unwrap();
    assert_eq!((third.number, third.first_msn), (3, 42));
    let elsewhere = repository.begin_epoch(&other.id).await.unwrap();
    assert_eq!((elsewhere.number, elsewhere.first_msn), (1, 1));
}

async fn a_crash_never_reuses_a_number(place: Place) {
    let repository = place.open().await;
    let (channel, _) = stored(&repository, "live", 1).await;
    let first = repository.begin_epoch(&channel.id).await.unwrap();
    let reserved = first.first_msn + 3 * EPOCH_MSN_RESERVE;
    repository
        .extend_epoch(&channel.id, first.number, reserved)
        .await
        .unwrap();
    // A late, smaller one takes nothing back.
    repository
        .extend_epoch(&channel.id, first.number, 2)
        .await
        .unwrap();
    drop(repository);
    let second = place.open().await.begin_epoch(&channel.id).await.unwrap();
    assert_eq!((second.number, second.first_msn), (2, reserved));
    let third = place.open().await.begin_epoch(&channel.id).await.unwrap();
    assert_eq!(
        (third.number, third.first_msn),
        (3, reserved + EPOCH_MSN_RESERVE)
    );
}

async fn concurrent_epochs_never_share_a_number(place: Place) {
    let repository = Arc::new(place.open().await);
    let (channel, _) = stored(&repository, "live", 1).await;
    let begun = (0..8).map(|_| repository.begin_epoch(&channel.id));
    let mut epochs = futures_util::future::try_join_all(begun).await.unwrap();
    epochs.sort_by_key(|epoch| epoch.number);
    for (number, epoch) in (1..).zip(&epochs) {
        assert_eq!(epoch.number, number);
        assert_eq!(epoch.first_msn, 1 + (number - 1) * EPOCH_MSN_RESERVE);
    }
    assert_eq!(epochs.len(), 8);
}

async fn a_dead_epoch_can_be_continued(place: Place) {
    let repository = place.open().await;
    let (channel, _) = stored(&repository, "live", 1).await;
    let id = &channel.id;
    repository.begin_epoch(id).await.unwrap();
    repository.end_epoch(id, 1, 10).await.unwrap();
    let ended = repository.resume_epoch(id, 1, 11).await;
    assert!(matches!(ended, Err(Error::Superseded)), "{ended:?}");

    repository.begin_epoch(id).await.unwrap();
    for (number, first_msn) in [(1, 40), (3, 40), (2, 9)] {
        let refused = repository.resume_epoch(id, number, first_msn).await;
        assert!(matches!(refused, Err(Error::Superseded)), "{refused:?}");
    }
    // Killed twice: the playlists are still those that began as epoch 2.
    for (number, first_msn) in [(3, 40), (4, 55)] {
        let resumed = repository.resume_epoch(id, number - 1, first_msn).await;
        assert_eq!(resumed.unwrap(), Epoch { number, first_msn });
        let running = repository.running_epochs(10).await.unwrap();
        let expected = RunningEpoch {
            channel_id: id.clone(),
            number,
            running_from: 2,
        };
        assert_eq!(running, [expected]);
    }
    repository.end_epoch(id, 4, 60).await.unwrap();
    let next = repository.begin_epoch(id).await.unwrap();
    assert_eq!((next.number, next.first_msn), (5, 60));

    // A crash after it frees nothing that was reserved before or by it.
    let far = 60 + 2 * EPOCH_MSN_RESERVE;
    repository.extend_epoch(id, 5, far).await.unwrap();
    repository.resume_epoch(id, 5, 70).await.unwrap();
    let after = repository.begin_epoch(id).await.unwrap();
    assert_eq!((after.number, after.first_msn), (7, far));
    let high = far + 3 * EPOCH_MSN_RESERVE;
    repository.resume_epoch(id, 7, high).await.unwrap();
    let last = repository.begin_epoch(id).await.unwrap();
    assert_eq!((last.number, last.first_msn), (9, high + EPOCH_MSN_RESERVE));
}

async fn only_epochs_that_nobody_ended_run(place: Place) {
    let repository = place.open().await;
    let mut expected = Vec::new();
    for n in 0..5 {
        let (channel, _) = stored(&repository, "live", n).await;
        repository.begin_epoch(&channel.id).await.unwrap();
        if n % 2 == 0 {
            repository.end_epoch(&channel.id, 1, 42).await.unwrap();
        } else {
            expected.push(channel.id);
        }
    }
    // Never begun; deleted while it ran.
    stored(&repository, "idle", 6).await;
    let (gone, _) = stored(&repository, "gone", 7).await;
    repository.begin_epoch(&gone.id).await.unwrap();
    repository.delete_channel(&gone.id).await.unwrap();

    // Those that were begun last come first.
    let again = place.open().await;
    expected.reverse();
    assert_eq!(running(&again, 10).await, expected);
    again.resume_epoch(&expected[1], 1, 50).await.unwrap();
    expected.reverse();
    assert_eq!(running(&again, 10).await, expected);
    again.begin_epoch(&expected[1]).await.unwrap();
    expected.reverse();
    assert_eq!(running(&again, 10).await, expected);
    assert_eq!(running(&again, 1).await, expected[..1]);
}

async fn running(repository: &Repository, limit: u32) -> Vec<ChannelId> {
    let running = repository.running_epochs(limit).await.unwrap();
    running.into_iter().map(|epoch| epoch.channel_id).collect()
}

async fn an_epoch_that_is_given_up_runs_no_more(place: Place) {
    let repository = place.open().await;
    let (channel, _) = stored(&repository, "lost", 1).await;
    let id = &channel.id;
    repository.begin_epoch(id).await.unwrap();
    repository.begin_epoch(id).await.unwrap();
    // Not the newest.
    repository.abandon_epoch(id, 1).await.unwrap();
    assert_eq!(running(&repository, 10).await, std::slice::from_ref(id));
    repository.abandon_epoch(id, 2).await.unwrap();
    assert_eq!(running(&repository, 10).await, []);
    let resumed = repository.resume_epoch(id, 2, 200_000).await;
    assert!(matches!(resumed, Err(Error::Superseded)), "{resumed:?}");
    let next = repository.begin_epoch(id).await.unwrap();
    // All that the dead process had reserved may have been used.
    assert_eq!(
        (next.number, next.first_msn),
        (3, 1 + 2 * EPOCH_MSN_RESERVE)
    );
}

async fn an_older_epoch_can_no_longer_move_anything(place: Place) {
    let repository = place.open().await;
    let (channel, _) = stored(&repository, "live", 1).await;
    let old = repository.begin_epoch(&channel.id).await.unwrap();
    let new = repository.begin_epoch(&channel.id).await.unwrap();
    repository
        .end_epoch(&channel.id, old.number, 5)
        .await
        .unwrap();
    let late = repository
        .extend_epoch(&channel.id, old.number, 9_000_000)
        .await;
    assert!(matches!(late, Err(Error::Superseded)), "{late:?}");
    // A number below the epoch's own first would hand out used ones.
    repository
        .end_epoch(&channel.id, new.number, new.first_msn - 1)
        .await
        .unwrap();
    let next = repository.begin_epoch(&channel.id).await.unwrap();
    assert_eq!(next.first_msn, new.first_msn + EPOCH_MSN_RESERVE);
}

async fn what_does_not_exist_is_not_found(place: Place) {
    let repository = place.open().await;
    let id = ChannelId::random();
    let ghost = channel("ghost", 1);
    let key = StreamKey::create(&id, "us-east-1", WallTime(1));
    assert_eq!(repository.load_channel(&id).await.unwrap(), None);
    for outcome in [
        repository.save_channel(&ghost).await,
        repository.delete_channel(&id).await,
        repository.create_stream_key(&key).await,
        repository.delete_stream_key(key.id()).await,
        repository.begin_epoch(&id).await.map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::NotFound(_))), "{outcome:?}");
    }
    let extended = repository.extend_epoch(&id, 1, 9).await;
    assert!(matches!(extended, Err(Error::Superseded)), "{extended:?}");
}

#[tokio::test]
async fn sqlite_commits_are_on_the_disk() {
    let place = Place::sqlite();
    let repository = place.open().await;
    let Db::Lite(pool) = repository.db() else {
        panic!("not SQLite")
    };
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(pool)
        .await
        .unwrap();
    let full: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!((mode.as_str(), full), ("wal", 2));
}
