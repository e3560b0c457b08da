//! The methods, once: names, namespaces, who may call them, and what changed between versions.

use rollmill_broker_client::Role;

/// What a method is for: this decides under which bound it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A producer's.
    Produce,
    /// Asks for a job.
    Claim,
    /// Keeps a lease or a result alive.
    Report,
}

macro_rules! methods {
    ($($(#[doc = $doc:literal])+ $method:ident = $name:literal $kind:ident, $params:literal => $result:literal;)+) => {
        /// A method.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Method {
            $($(#[doc = $doc])+ $method,)+
        }

        impl Method {
            /// Every method, in the order of the table.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$method),+];

            /// Its name after the namespace.
            #[cfg(test)]
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$method => $name,)+ }
            }

            pub(super) const fn kind(self) -> Kind {
                match self { $(Self::$method => Kind::$kind,)+ }
            }

            /// The row of the table in docs/book/aztec.md.
            #[cfg(test)]
            pub(super) fn row(self) -> String {
                match self { $(Self::$method => {
                    let doc = concat!($($doc),+).trim().trim_end_matches('.');
                    format!("| `{}` | {} | {} | {doc} |", $name, $params, $result)
                })+ }
            }

            fn find(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$method),)+ _ => None }
            }
        }
    };
}

methods! {
    /// Adds a job; the answer is its state before.
    EnqueueProvingJob = "enqueueProvingJob" Produce,
        "`{id, type, epochNumber, inputsUri}`" => "status";

    /// Returns a job's state.
    GetProvingJobStatus = "getProvingJobStatus" Produce, "id" => "status";

    /// Cancels a job that is not settled.
    CancelProvingJob = "cancelProvingJob" Produce, "id" => "`null`";

    /// Returns the settled ones of these jobs, and every job settled in the last 30 s.
    GetCompletedJobs = "getCompletedJobs" Produce, "ids, at most 1,000" => "ids";

    /// Returns a job to work on, or `null`.
    GetProvingJob = "getProvingJob" Claim, "filter" => "`{job, time}`";

    /// Reports a result; the first one counts.
    ReportProvingJobSuccess = "reportProvingJobSuccess" Report,
        "id, resultUri, filter" => "`{job, time}`";

    /// Reports a failure.
    ReportProvingJobError = "reportProvingJobError" Report,
        "id, message, retry, filter" => "`{job, time}`";

    /// Keeps a lease; a job in the answer replaces the one in hand.
    ReportProvingJobProgress = "reportProvingJobProgress" Report,
        "id, time, filter" => "`{job, time}`";
}

/// Namespaces, and whether each has the methods of producers and of agents.
const NAMESPACES: [(&str, bool, bool); 4] = [
    ("proverBroker", true, true),
    ("provingJobProducer", true, false),
    ("provingJobConsumer", false, true),
    ("provingJobSource", false, true),
];

impl Method {
    /// The method of this name, `proverBroker_getProvingJob` for example.
    pub(super) fn of(name: &str) -> Option<Self> {
        let (namespace, name) = name.split_once('_')?;
        let (_, produces, consumes) = NAMESPACES.iter().find(|known| known.0 == namespace)?;
        let method = Self::find(name)?;
        let is_there = match method.role() {
            Role::Producer => *produces,
            _ => *consumes,
        };
        is_there.then_some(method)
    }

    /// Whose method it is.
    pub(super) const fn role(self) -> Role {
        match self.kind() {
            Kind::Produce => Role::Producer,
            Kind::Claim | Kind::Report => Role::Agent,
        }
    }

    /// The roles that may call it.
    pub(super) const fn roles(self) -> &'static [Role] {
        match self.kind() {
            Kind::Produce => &[Role::Producer],
            Kind::Claim | Kind::Report => &[Role::Agent, Role::Fleet],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_the_methods_of_its_side() {
        for method in Method::ALL {
            let is_produced = method.role() == Role::Producer;
            for (namespace, found) in [
                ("proverBroker", true),
                ("provingJobProducer", is_produced),
                ("provingJobConsumer", !is_produced),
                ("provingJobSource", !is_produced),
                ("prover", false),
            ] {
                let name = format!("{namespace}_{}", method.name());
                assert_eq!(Method::of(&name), found.then_some(*method), "{name}");
            }
            assert_eq!(Method::of(method.name()), None);
        }
        assert_eq!(Method::of("proverBroker_constructor"), None);
        assert_eq!(Method::of(""), None);
    }

    /// Goal: the page lists each method as the code knows it.
    #[test]
    fn the_page_has_the_row_of_every_method() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/book/aztec.md");
        let page = std::fs::read_to_string(page).unwrap();
        for method in Method::ALL {
            assert!(page.contains(&method.row()), "docs/book/aztec.md lacks {}", method.row());
        }
    }
}
