//! Many artifacts in few requests, and many jobs in few answers.

use bytes::Bytes;

use crate::{BATCH_MAX, Client, ClientError, JobView, ListQuery, routes};

/// Bodies in requests of at most [`BATCH_MAX`] and [`routes::ARTIFACTS_BYTES_MAX`]; a larger one is alone.
pub(crate) fn batches(bodies: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let mut all: Vec<Vec<Bytes>> = Vec::new();
    let mut bytes = 0;
    for body in bodies {
        bytes += body.len() + 4;
        match all.last_mut() {
            Some(batch) if bytes <= routes::ARTIFACTS_BYTES_MAX && batch.len() < BATCH_MAX => {
                batch.push(body);
            }
            _ => {
                bytes = body.len() + 4;
                all.push(vec![body]);
            }
        }
    }
    all
}

impl Client {
    /// All jobs that match, the newest first, in requests of [`BATCH_MAX`] whatever the query's limit is. Jobs that are
    /// enqueued meanwhile are left out, and one that changes meanwhile is listed as it was.
    ///
    /// # Errors
    /// As [`Self::list`], and [`crate::Answer::UnknownJob`] if the epoch of a listed job is dropped meanwhile.
    pub async fn list_all(&self, query: &ListQuery) -> Result<Vec<JobView>, ClientError> {
        let (mut query, mut jobs) = (query.clone(), Vec::new());
        query.limit = u32::try_from(BATCH_MAX).ok();
        loop {
            let page = self.list(&query).await?;
            let is_last = page.len() < BATCH_MAX;
            query.before = page.last().map(|job| job.id.clone());
            jobs.extend(page);
            if is_last {
                return Ok(jobs);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{Artifacts, Payload as _};

    #[test]
    fn bodies_are_batched_by_number_and_by_bytes() {
        let sizes = |lengths: &[usize]| -> Vec<usize> {
            let bodies = lengths.iter().map(|length| Bytes::from(vec![0; *length])).collect();
            batches(bodies).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[0; 2001]), [1000, 1000, 1]);
        let half = routes::ARTIFACTS_BYTES_MAX / 2;
        assert_eq!(sizes(&[half - 4, half - 4, 1]), [2, 1]);
        assert_eq!(sizes(&[half - 4, half - 3, 1]), [1, 2]);
        assert_eq!(sizes(&[1, 2 * half, 1]), [1, 1, 1]);
    }

    #[test]
    fn artifacts_read_back_and_cut_ones_are_rejected() {
        let all = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"three")];
        let bytes = Artifacts::encode(&all).unwrap();
        assert_eq!(Artifacts::decode(bytes.clone()).unwrap(), all);
        assert_eq!(Artifacts::decode(Bytes::new()).unwrap(), Vec::<Bytes>::new());
        let whole = [0, 7, 11, bytes.len()];
        for length in (0..bytes.len()).filter(|length| !whole.contains(length)) {
            assert!(Artifacts::decode(bytes.slice(..length)).is_err(), "{length}");
        }
    }
}
