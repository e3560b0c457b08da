//! The feed of an epoch: which jobs changed in a way that their producer must see, since a cursor.
//!
//! A job carries the transaction that changed it, and a cursor is the snapshot of the read before: what that
//! snapshot did not see is new. So it does not matter in which order transactions of many replicas end, and
//! no replica needs a number of its own. The feed shows states and not events: a job that changed twice comes
//! once, as it is now.

use std::fmt;
use std::str::FromStr;

use rollmill_broker_client::{BATCH_MAX, JobId, JobView};

use super::sql::{Changes, Statement};
use super::{Store, Tenant, corrupt};
use crate::error::BrokerError;

/// Longest cursor in bytes: two snapshots, each with every transaction that runs.
const CURSOR_BYTES_MAX: usize = 32 << 10;

/// A snapshot of PostgreSQL: `xmin:xmax:xip,…`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snapshot {
    text: String,
    xmin: i64,
    xmax: i64,
}

impl FromStr for Snapshot {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| -> Result<i64, ()> {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if digits { text.parse().map_err(drop) } else { Err(()) }
        };
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(running), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let (xmin, xmax) = (number(xmin)?, number(xmax)?);
        let mut last = xmin;
        if xmin < 1 || xmax < xmin {
            return Err(());
        }
        for (n, running) in running.split(',').filter(|_| !running.is_empty()).enumerate() {
            let running = number(running)?;
            let in_order = if n == 0 { running >= last } else { running > last };
            if !in_order || running >= xmax {
                return Err(());
            }
            last = running;
        }
        Ok(Self { text: text.to_owned(), xmin, xmax })
    }
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    until: Snapshot,
    change: i64,
    seq: i64,
}

/// How far a producer has read. It passes it back as it got it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// What was read whole.
    seen: Option<Snapshot>,
    /// The pages after that which were read.
    page: Option<Page>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.seen.as_ref().map_or("", |seen| &seen.text))?;
        if let Some(Page { until, change, seq }) = &self.page {
            write!(f, "/{}/{change}/{seq}", until.text)?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = BrokerError;

    fn from_str(text: &str) -> Result<Self, BrokerError> {
        let wrong = || BrokerError::bad("the cursor is not one that this route returned");
        let snapshot = |text: &str| text.parse::<Snapshot>().map_err(|()| wrong());
        let number =
            |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0).ok_or_else(wrong);
        if text.len() > CURSOR_BYTES_MAX {
            return Err(wrong());
        }
        let parts: Vec<&str> = text.split('/').collect();
        let seen = |text: &str| match text.is_empty() {
            true => Ok(None),
            false => snapshot(text).map(Some),
        };
        match parts[..] {
            [all] => Ok(Self { seen: seen(all)?, page: None }),
            [all, until, change, seq] => {
                let page =
                    Page { until: snapshot(until)?, change: number(change)?, seq: number(seq)? };
                Ok(Self { seen: seen(all)?, page: Some(page) })
            }
            _ => Err(wrong()),
        }
    }
}

/// Jobs that changed, and how far they reach.
#[derive(Clone, Debug)]
pub struct Changed {
    /// As they are now.
    pub jobs: Vec<JobView>,
    /// For the next read.
    pub cursor: Cursor,
    /// There is more to read already.
    pub more: bool,
}

impl Store {
    /// The jobs of an epoch that changed since the cursor, at most [`BATCH_MAX`].
    pub async fn changes(
        &self,
        tenant: &Tenant,
        epoch: u64,
        cursor: &Cursor,
    ) -> Result<Changed, BrokerError> {
        let Cursor { seen, page } = cursor;
        let start = seen.as_ref().map_or(0, |seen| seen.xmin);
        // Nothing before the oldest transaction that ran then is new.
        let (after_change, after_seq) = match page {
            Some(page) => (page.change, page.seq),
            None => (start, -1),
        };
        let statement = Changes {
            tenant,
            epoch,
            seen: seen.as_ref().map(|seen| seen.text.as_str()),
            until: page.as_ref().map(|page| page.until.text.as_str()),
            after_change,
            after_seq,
            most: i64::try_from(BATCH_MAX).unwrap_or(i64::MAX),
        };
        let rows = statement.all(&self.pool).await?;
        let until = rows.first().and_then(|row| row.until.parse::<Snapshot>().ok());
        let until = until.ok_or_else(|| corrupt("a snapshot"))?;
        if seen.as_ref().is_some_and(|seen| seen.xmax > until.xmax) {
            // The cursor is of a database that was since restored to an earlier state: from the beginning.
            return Box::pin(self.changes(tenant, epoch, &Cursor::default())).await;
        }
        let found: Vec<(JobId, i64, i64)> =
            rows.into_iter().filter_map(|row| Some((row.id?.0, row.change?, row.seq?))).collect();
        let more = found.len() >= BATCH_MAX;
        let cursor = match found.last().filter(|_| more) {
            Some((_, change, seq)) => {
                let page = Page { until, change: *change, seq: *seq };
                Cursor { seen: seen.clone(), page: Some(page) }
            }
            None => Cursor { seen: Some(until), page: None },
        };
        let ids: Vec<JobId> = found.into_iter().map(|(id, ..)| id).collect();
        let jobs = if ids.is_empty() { Vec::new() } else { self.jobs(tenant, &ids).await? };
        Ok(Changed { jobs, cursor, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_from_its_text() {
        for text in ["", "7:7:", "7:12:7,9,11", "7:9:/8:12:8,11/8/3", "/8:12:/0/0"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_cursor_is_rejected() {
        for text in [
            "x",
            "1:2",
            "1:2:3:4",
            "0:1:",
            "2:1:",
            "1:5:6",
            "1:5:5",
            "5:9:4",
            "1:9:3,3",
            "1:9:3,2",
            "1:9:,",
            "-1:9:",
            "1:9:/1:9:",
            "1:9:/1:9:/1",
            "1:9:/1:9:/-1/2",
            "1:9:/1:9:/1/2/3",
            "9223372036854775808:9223372036854775808:",
            "1:+9:",
            "'; DROP TABLE job",
        ] {
            let error = text.parse::<Cursor>().unwrap_err();
            assert_eq!(error.code(), "BRK-010", "{text}");
        }
        let long = format!("1:99999999:{}", "1".repeat(CURSOR_BYTES_MAX));
        assert!(long.parse::<Cursor>().is_err());
    }
}
