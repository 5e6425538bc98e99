use super::*;

#[test]
fn reads_storage_urls() {
    let bucket = |endpoint: Option<&str>, region: Option<&str>| {
        Location::Bucket(Bucket {
            name: "media-1".to_owned(),
            endpoint: endpoint.map(ToOwned::to_owned),
            region: region.map(ToOwned::to_owned),
        })
    };
    let cases = [
        ("file:data/store", Location::Folder("data/store".into())),
        ("file:/srv/weir", Location::Folder("/srv/weir".into())),
        ("file:///srv/weir", Location::Folder("/srv/weir".into())),
        ("s3://media-1", bucket(None, None)),
        (
            "s3://media-1/?region=eu-west-1",
            bucket(None, Some("eu-west-1")),
        ),
        (
            "s3://media-1?endpoint=http://garage:3900&region=garage",
            bucket(Some("http://garage:3900"), Some("garage")),
        ),
        (
            "s3://media-1?endpoint=https%3A%2F%2Fs3.example%2F",
            bucket(Some("https://s3.example"), None),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Location>().unwrap(), expected, "{text}");
    }
}

#[test]
fn refuses_other_urls_in_words_and_without_secrets() {
    let cases = [
        ("", "is not a URL"),
        ("data/store", "is not a URL"),
        ("file:", "names no folder"),
        ("file://host/srv", "has a host"),
        ("gs://media", "unknown scheme gs"),
        ("s3://", "names no bucket"),
        ("s3://?endpoint=http://h", "names no bucket"),
        ("s3://a:80", "names no bucket"),
        ("s3://media/deep", "has a path"),
        ("s3://media?regoin=x", "unknown parameter regoin"),
        ("s3://media?endpoint=h:80", "endpoint"),
        ("s3://media?endpoint=http://h/path", "endpoint"),
        ("s3://id:S3CRET@media", "holds credentials"),
        (
            "s3://media?endpoint=http://id:S3CRET@h",
            "holds credentials",
        ),
    ];
    for (text, expected) in cases {
        let error = text.parse::<Location>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(error.contains("write file:PATH or s3://BUCKET"), "{error}");
        assert!(!error.contains("S3CRET"), "{error}");
    }
}

#[test]
fn an_empty_url_is_a_folder_in_the_data_directory() {
    let location = Config::default().location(Path::new("/data")).unwrap();
    assert_eq!(location, Location::Folder("/data/storage".into()));
}

#[test]
fn an_endpoint_needs_credentials() {
    let location = "s3://media?endpoint=http://garage:3900".parse().unwrap();
    let error = Store::open(&location, &Config::default(), []).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open bucket media at http://garage:3900: \
         set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let location = Location::Folder(file.join("below"));
    let error = Store::open(&location, &Config::default(), []).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("below") && text.contains("Not a directory"),
        "{text}"
    );
}
