"""Rejected records: what there is, why, and putting it back on `usage.events`, each record once.

Theory of operation. A reject stands on `usage.rejected` with its original key, value and headers, and is known by the
place where the original stood (`rejects`). What was put back is known from `usage.replays` (`memory`), and for a run
that was broken off from the log itself (`recovery`). The checks that need no state, and the current catalogs, say
beforehand what would become of a record (`forecast`).

A run (`run`) goes in chunks: look whether a newer run began, put a chunk back and wait for the broker, note it. Killed

- before or after it began, nothing was put back, and the next run finds nothing;
- while a chunk is on its way or before it is noted, part of it is in the log. The next run reads the log from where
  the last note ends, and notes what has the old run's headers; the rest of the chunk is still open;
- after the note, or in the middle of such a recovery, the same is found once more and says the same.

What is exact: a report counts once in any case, since the log's own rule of duplicates (domain, A1 and A3) holds for
what is put back as for all else. A record is put back once, since a newer run waits until whatever an older one may
have sent has come to rest (`ReplayBounds.fence_s`), and an older one looks before each chunk. The one hole: a process
that was stopped, not killed, for longer than that in the moment between its look and its sending. Then a report is
there twice, and is a duplicate.
"""
