//! The span of a trace that a request belongs to, as the header `traceparent` of W3C's "Trace Context" carries it.

use std::fmt;

tokio::task_local! {
    static CURRENT: Traceparent;
}

/// A span of a trace. Ids are never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traceparent {
    trace: u128,
    span: u64,
    is_sampled: bool,
}

impl Traceparent {
    /// Name of the header.
    pub const HEADER: &'static str = "traceparent";

    /// A span of a trace; [`None`] if an id is 0, which stands for none.
    pub fn new(trace: u128, span: u64, is_sampled: bool) -> Option<Self> {
        (trace != 0 && span != 0).then_some(Self { trace, span, is_sampled })
    }

    /// Reads the value of a header. [`None`] for what the specification tells receivers to ignore.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        // Later versions may append parts. 255 is no version.
        if version == 255 || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
        Self::new(trace, u64::try_from(span).ok()?, flags & 1 == 1)
    }

    /// Id of the trace.
    pub fn trace(&self) -> u128 {
        self.trace
    }

    /// Id of the span.
    pub fn span(&self) -> u64 {
        self.span
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// What the requests of this task are about, inside [`Self::scope`].
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|current| *current).ok()
    }

    /// Runs `work`, whose requests to a broker say that they are about this span. It does not reach tasks that `work`
    /// starts.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }
}

/// The value of the header.
impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

/// A number of exactly so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match text.len() == digits && text.bytes().all(is_digit) {
        true => u128::from_str_radix(text, 16).ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for (flags, is_sampled, written) in
            [("01", true, "01"), ("00", false, "00"), ("03", true, "01"), ("fe", false, "00")]
        {
            let read = Traceparent::parse(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
            assert_eq!((read.span(), read.is_sampled()), (0x00f0_67aa_0ba9_02b7, is_sampled));
            assert_eq!(format!("{:032x}", read.trace()), TRACE);
            assert_eq!(read.to_string(), format!("00-{TRACE}-{SPAN}-{written}"));
        }
        let later = Traceparent::parse(&format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be"));
        assert_eq!(later, Traceparent::parse(&format!("00-{TRACE}-{SPAN}-01")));
    }

    #[test]
    fn what_is_no_header_is_ignored() {
        let zeros = "0".repeat(32);
        for wrong in [
            String::new(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", &SPAN[1..]),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            format!(" 00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(Traceparent::parse(&wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_task_knows_what_its_requests_are_about_and_others_do_not() {
        assert_eq!(Traceparent::current(), None);
        let (outer, inner) = (Traceparent::new(1, 2, true), Traceparent::new(1, 3, true));
        let work = async {
            assert_eq!(Traceparent::current(), outer);
            inner.unwrap().scope(async { assert_eq!(Traceparent::current(), inner) }).await;
            assert_eq!(Traceparent::current(), outer);
            tokio::spawn(async { assert_eq!(Traceparent::current(), None) }).await.unwrap();
        };
        outer.unwrap().scope(work).await;
    }
}
