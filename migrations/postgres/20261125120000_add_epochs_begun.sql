-- In which order epochs were begun, over all channels; no clock is asked. 0: before this column was there.
ALTER TABLE epochs ADD COLUMN begun BIGINT NOT NULL DEFAULT 0;
CREATE INDEX epochs_begun ON epochs (begun);
