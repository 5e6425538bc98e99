//! What the IVS API stores beside channels: every case on SQLite and on PostgreSQL.

use serde_json::json;
use tokio::task::JoinSet;
use weir::base::clock::WallTime;
use weir::db::Repository;
use weir::model::access_key::{AccessKey, Role};
use weir::model::arn::Resource;
use weir::model::breaks::FailoverSlateConfiguration;
use weir::model::playback::PlaybackRestrictionPolicy;
use weir::model::repository::{
    AccessKeyRepository as _, ChannelRepository as _, DocumentRepository as _, Error, Filter,
    NO_LIMIT, OutboxRepository as _, Page, Revocation, RevocationRepository as _,
    StreamKeyRepository as _, StreamSessionRepository as _, TagRepository as _,
};
use weir::model::stream_session::StreamEvent;
use weir::model::tags::{MAX_TAGS, TagChange, Tags};
use weir::model::{Channel, Document, DocumentKind, StreamKey, StreamSession};

use super::repository::{Place, channel, on_both, stored};

on_both!(
    access_keys_come_back_whole_and_expired_ones_go,
    documents_come_back_as_they_were_stored,
    at_most_so_many_are_there_however_many_come_at_once,
    what_a_channel_refers_to_is_not_deleted,
    tags_of_every_resource_change,
    tags_that_are_set_at_once_are_all_there,
    channels_are_filtered,
    stream_sessions_outlive_their_channel,
    revocations_only_rise,
);

const ALL: Page = Page {
    after: None,
    limit: 100,
};

fn tags(pairs: &[(&str, &str)]) -> Tags {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    pairs.collect()
}

fn policy(created_ms: i64) -> Document {
    let contents = PlaybackRestrictionPolicy {
        allowed_countries: vec!["KR".to_owned()],
        ..PlaybackRestrictionPolicy::default()
    };
    Document::create(&contents, tags(&[("a", "é")]), "", WallTime(created_ms))
}

async fn access_keys_come_back_whole_and_expired_ones_go(place: Place) {
    let repository = place.open().await;
    let lasting = AccessKey::create(Role::ReadOnly, "arn:aws:ivs:", None, WallTime(1));
    let passing = AccessKey::create(Role::Admin, "", Some(WallTime(10)), WallTime(2));
    for key in [&lasting, &passing] {
        repository.create_access_key(key).await.unwrap();
        assert_eq!(
            repository.load_access_key(&key.id).await.unwrap().as_ref(),
            Some(key)
        );
    }
    assert!(matches!(
        repository.create_access_key(&lasting).await,
        Err(Error::Exists)
    ));
    let listed = repository.list_access_keys(10).await.unwrap();
    assert_eq!(listed, [lasting.clone(), passing.clone()]);
    let later = AccessKey::create(Role::Chat, "", None, WallTime(11));
    repository.create_access_key(&later).await.unwrap();
    let listed = repository.list_access_keys(10).await.unwrap();
    assert_eq!(listed, [lasting.clone(), later]);
    repository.delete_access_key(&lasting.id).await.unwrap();
    assert_eq!(repository.load_access_key(&lasting.id).await.unwrap(), None);
    let gone = repository.delete_access_key(&lasting.id).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}

async fn documents_come_back_as_they_were_stored(place: Place) {
    let repository = place.open().await;
    let kind = DocumentKind::PlaybackRestrictionPolicy;
    let mut made = Vec::new();
    for created_ms in [5, -5, 5] {
        let document = policy(created_ms);
        repository
            .create_document(&document, NO_LIMIT)
            .await
            .unwrap();
        made.push(document);
    }
    let slate = FailoverSlateConfiguration::default();
    let slate = Document::create(&slate, Tags::new(), "CREATED", WallTime(0));
    repository.create_document(&slate, NO_LIMIT).await.unwrap();
    made.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    assert_eq!(repository.list_documents(kind, &ALL).await.unwrap(), made);
    let after = Some((made[0].created, made[0].id.to_string()));
    let page = Page { after, limit: 1 };
    assert_eq!(
        repository.list_documents(kind, &page).await.unwrap(),
        made[1..2]
    );

    let changed = Document {
        contents: json!({"name": "other"}),
        state: "ACTIVE".to_owned(),
        ..made[0].clone()
    };
    repository.save_document(&changed).await.unwrap();
    let loaded = repository.load_document(kind, &changed.id).await.unwrap();
    assert_eq!(loaded.as_ref(), Some(&changed));
    assert_eq!(
        repository.load_document(kind, &slate.id).await.unwrap(),
        None
    );
    repository
        .delete_document(kind, &changed.id, "arn")
        .await
        .unwrap();
    let gone = repository.delete_document(kind, &changed.id, "arn").await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
    assert!(matches!(
        repository.save_document(&changed).await,
        Err(Error::NotFound(_))
    ));

    let alone = |created_ms| Document {
        unique: Some("same".to_owned()),
        ..policy(created_ms)
    };
    repository
        .create_document(&alone(1), NO_LIMIT)
        .await
        .unwrap();
    let twin = repository.create_document(&alone(2), NO_LIMIT).await;
    assert!(matches!(twin, Err(Error::Exists)), "{twin:?}");
}

async fn at_most_so_many_are_there_however_many_come_at_once(place: Place) {
    let repository = place.open().await;
    let mut tasks = JoinSet::new();
    for n in 0..12 {
        let repository = repository.clone();
        tasks.spawn(async move { repository.create_document(&policy(n), 3).await });
    }
    let (mut made, mut refused) = (0, 0);
    for outcome in tasks.join_all().await {
        match outcome {
            Ok(()) => made += 1,
            Err(Error::Full(3)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((made, refused), (3, 9));
    let first = channel("first", 1);
    let key = StreamKey::create(&first.id, "us-east-1", WallTime(1));
    repository.create_channel(&first, &key, 1).await.unwrap();
    let second = channel("second", 2);
    let key = StreamKey::create(&second.id, "us-east-1", WallTime(2));
    let full = repository.create_channel(&second, &key, 1).await;
    assert!(matches!(full, Err(Error::Full(1))));
    assert_eq!(repository.load_channel(&second.id).await.unwrap(), None);
}

async fn attach(repository: &Repository, channel: &Channel, arn: &str) -> Channel {
    let mut changed = channel.clone();
    arn.clone_into(&mut changed.attached.playback_restriction_policy_arn);
    repository.save_channel(&changed).await.unwrap();
    changed
}

async fn what_a_channel_refers_to_is_not_deleted(place: Place) {
    let repository = place.open().await;
    let document = policy(1);
    repository
        .create_document(&document, NO_LIMIT)
        .await
        .unwrap();
    let (channel, _) = stored(&repository, "first", 1).await;
    attach(&repository, &channel, "arn:x").await;
    let delete = || repository.delete_document(document.kind, &document.id, "arn:x");
    assert!(matches!(delete().await, Err(Error::InUse)));
    let there = repository
        .load_document(document.kind, &document.id)
        .await
        .unwrap();
    assert_eq!(there, Some(document.clone()));
    attach(&repository, &channel, "").await;
    delete().await.unwrap();
}

async fn tags_of_every_resource_change(place: Place) {
    let repository = place.open().await;
    let (channel, key) = stored(&repository, "first", 1).await;
    let document = policy(1);
    repository
        .create_document(&document, NO_LIMIT)
        .await
        .unwrap();
    let kind = document.kind;
    for (resource, before) in [
        (Resource::Channel(channel.id.clone()), tags(&[])),
        (Resource::StreamKey(key.id().clone()), tags(&[])),
        (
            Resource::Document(kind, document.id.clone()),
            tags(&[("a", "é")]),
        ),
    ] {
        assert_eq!(repository.load_tags(&resource).await.unwrap(), Some(before));
        let set = TagChange::Set(tags(&[("a", "1"), ("b", "2")]));
        repository.change_tags(&resource, &set).await.unwrap();
        let remove = TagChange::Remove(vec!["b".to_owned(), "none".to_owned()]);
        repository.change_tags(&resource, &remove).await.unwrap();
        let expected = Some(tags(&[("a", "1")]));
        assert_eq!(repository.load_tags(&resource).await.unwrap(), expected);
        let many = (0..MAX_TAGS)
            .map(|n| (format!("k{n}"), String::new()))
            .collect();
        let refused = repository
            .change_tags(&resource, &TagChange::Set(many))
            .await;
        assert!(matches!(refused, Err(Error::Tags(_))), "{refused:?}");
        assert_eq!(repository.load_tags(&resource).await.unwrap(), expected);
    }
    assert_eq!(
        repository
            .load_channel(&channel.id)
            .await
            .unwrap()
            .unwrap()
            .tags,
        tags(&[("a", "1")])
    );
    assert_eq!(
        repository
            .load_stream_key(key.id())
            .await
            .unwrap()
            .unwrap()
            .tags,
        tags(&[("a", "1")])
    );
    // What is saved of a channel leaves its tags alone.
    repository.save_channel(&channel).await.unwrap();
    let kept = repository
        .load_tags(&Resource::Channel(channel.id.clone()))
        .await
        .unwrap();
    assert_eq!(kept, Some(tags(&[("a", "1")])));
    let other = Resource::Document(DocumentKind::AdConfiguration, document.id);
    assert_eq!(repository.load_tags(&other).await.unwrap(), None);
    let missing = repository
        .change_tags(&other, &TagChange::Set(Tags::new()))
        .await;
    assert!(matches!(missing, Err(Error::NotFound(_))));
}

async fn tags_that_are_set_at_once_are_all_there(place: Place) {
    let repository = place.open().await;
    let (channel, _) = stored(&repository, "first", 1).await;
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let (repository, id) = (repository.clone(), channel.id.clone());
        tasks.spawn(async move {
            let set = TagChange::Set(Tags::from([(format!("k{n}"), String::new())]));
            repository.change_tags(&Resource::Channel(id), &set).await
        });
    }
    for outcome in tasks.join_all().await {
        outcome.unwrap();
    }
    let tags = repository
        .load_tags(&Resource::Channel(channel.id))
        .await
        .unwrap();
    assert_eq!(tags.unwrap().len(), 20);
}

async fn channels_are_filtered(place: Place) {
    let repository = place.open().await;
    let (first, _) = stored(&repository, "same", 1).await;
    let (second, _) = stored(&repository, "same", 2).await;
    stored(&repository, "other", 3).await;
    let second = attach(&repository, &second, "arn:x").await;
    let listed = async |filter: Filter, page: &Page| {
        repository.filter_channels(&filter, page).await.unwrap()
    };
    let of_name = Filter::Name("same".to_owned());
    assert_eq!(
        listed(of_name.clone(), &ALL).await,
        [first.clone(), second.clone()]
    );
    let after = Some((first.created, first.id.to_string()));
    let page = Page { after, limit: 5 };
    assert_eq!(listed(of_name, &page).await, std::slice::from_ref(&second));
    let of_policy = Filter::PlaybackRestrictionPolicy("arn:x".to_owned());
    assert_eq!(listed(of_policy, &ALL).await, std::slice::from_ref(&second));
    let mut private = first;
    private.is_authorized = true;
    repository.save_channel(&private).await.unwrap();
    assert_eq!(listed(Filter::Protected, &ALL).await, [private, second]);
    for filter in [
        Filter::RecordingConfiguration,
        Filter::AdConfiguration,
        Filter::FailoverSlateConfiguration,
    ] {
        assert_eq!(listed(filter("arn:x".to_owned()), &ALL).await, []);
    }
}

async fn stream_sessions_outlive_their_channel(place: Place) {
    let repository = place.open().await;
    let (channel, _) = stored(&repository, "first", 1).await;
    let id = &channel.id;
    let mut first = StreamSession::begin("st-1", id, WallTime(10));
    first
        .details
        .insert("channel".to_owned(), json!({"name": "first"}));
    repository.tell(Some(&first), &[]).await.unwrap();
    first.push(StreamEvent {
        name: "Stream Start".to_owned(),
        kind: "IVS Stream State Change".to_owned(),
        event_time: WallTime(11).to_string(),
        code: Some("x".to_owned()),
    });
    first.ended = Some(WallTime(12));
    repository.tell(Some(&first), &[]).await.unwrap();
    let second = StreamSession::begin("st-2", id, WallTime(20));
    repository.tell(Some(&second), &[]).await.unwrap();
    repository.delete_channel(id).await.unwrap();

    let load = async |stream_id| repository.load_stream_session(id, stream_id).await.unwrap();
    assert_eq!(load(Some("st-1")).await, Some(first.clone()));
    assert_eq!(load(None).await, Some(second.clone()));
    assert_eq!(load(Some("st-3")).await, None);
    let ids = async |page: &Page| {
        let listed = repository.list_stream_sessions(id, page).await.unwrap();
        listed
            .into_iter()
            .map(|session| session.stream_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&ALL).await, ["st-2", "st-1"]);
    let after = Some((WallTime(20), "st-2".to_owned()));
    assert_eq!(ids(&Page { after, limit: 5 }).await, ["st-1"]);
    let open = repository.open_stream_sessions(5).await.unwrap();
    assert_eq!(open, [second]);
    repository
        .delete_stream_sessions(WallTime(20))
        .await
        .unwrap();
    assert_eq!(ids(&ALL).await, ["st-2"]);
}

async fn revocations_only_rise(place: Place) {
    let repository = place.open().await;
    let (channel, _) = stored(&repository, "first", 1).await;
    let revocation = |version, at| Revocation {
        channel_id: channel.id.clone(),
        viewer_id: "한".to_owned(),
        version,
        at: WallTime(at),
    };
    for (version, at) in [(3, 10), (7, 20), (5, 30)] {
        repository.revoke(&revocation(version, at)).await.unwrap();
    }
    let listed = repository.list_revocations(&ALL).await.unwrap();
    assert_eq!(listed, [revocation(7, 30)]);
    repository.forget_revocations(WallTime(30)).await.unwrap();
    assert_eq!(repository.list_revocations(&ALL).await.unwrap().len(), 1);
    repository.forget_revocations(WallTime(31)).await.unwrap();
    assert!(repository.list_revocations(&ALL).await.unwrap().is_empty());
    repository.delete_channel(&channel.id).await.unwrap();
    let gone = repository.revoke(&revocation(1, 40)).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}
