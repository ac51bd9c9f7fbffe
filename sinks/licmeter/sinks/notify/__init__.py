"""Alerts to people and to other systems: reads `license.alerts`, sends e-mail, chat messages and signed webhooks.

Theory of operation. Each target (`config`) has a consumer group, and so a place in the log, of its own (`lane`). What
holds up one target holds up nobody else, what is not delivered waits in Kafka and not in memory, and a target that
only takes its time loses nothing. An event that a target wants (`routing`) becomes a notice (`notices`, `pages`):
webhooks get every event, people get the breaches of one kind in one message for a window of time (`digests`). A notice
is tried (`delivery`) until it is taken, refused for good, or given up (`retries`, `breaker`); what is given up becomes
a dead letter in `license.undelivered` (`letters`). Only then is its place in the log settled (`ledger`) and committed,
with what is settled beyond it in the commit's metadata. So a crash repeats little and loses nothing, and a repeat has
the same key.

Code that is not ours and blocks (SMTP, apprise) runs in a child process (`child`, `children`): it can be killed when
its time is up, has a bound of memory, and cannot write secrets into our log.
"""
