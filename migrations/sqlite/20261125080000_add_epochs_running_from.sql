-- The first epoch of the playlists that now run under number; null once they have ended. A number that
-- was begun to continue the one before after a crash keeps it. A process that dies leaves it as it is.
ALTER TABLE epochs ADD COLUMN running_from BIGINT;
