-- What a channel refers to, by ARN (empty: nothing), several tracks of pictures, and tags: JSON in the API's words.
ALTER TABLE channels ADD COLUMN recording_configuration_arn TEXT NOT NULL DEFAULT '';
ALTER TABLE channels ADD COLUMN playback_restriction_policy_arn TEXT NOT NULL DEFAULT '';
ALTER TABLE channels ADD COLUMN ad_configuration_arn TEXT NOT NULL DEFAULT '';
ALTER TABLE channels ADD COLUMN failover_slate_configuration_arn TEXT NOT NULL DEFAULT '';
ALTER TABLE channels ADD COLUMN multitrack TEXT;
ALTER TABLE channels ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
ALTER TABLE stream_keys ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
