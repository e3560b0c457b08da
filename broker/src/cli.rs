//! The subcommands that look after a broker.

use clap::{Arg, ArgAction, ArgMatches, Command};
use rollmill_broker::Config;
use rollmill_broker::embedded::discover;
use rollmill_broker::store::{Role, Store, Tenant};
use rollmill_broker_client::{
    AgentId, Client, JobId, JobState, JobView, ListQuery, Options, StatusResponse,
};
use rollmill_service::{Error, Outcome, Service, one_line};

pub(crate) fn subcommands(service: Service) -> Service {
    let json =
        || Arg::new("json").long("json").action(ArgAction::SetTrue).help("print JSON, one object");
    let ids = || Arg::new("id").num_args(1..).required(true).help("job ids");
    service
        .subcommand(Command::new("serve").about("Serve (also without a subcommand)"))
        .subcommand(Command::new("migrate").about("Bring the schema up to date"))
        .subcommand(Command::new("status").about("Queue, agents and dead letters").arg(json()))
        .subcommand(
            Command::new("jobs")
                .about("The newest jobs")
                .arg(Arg::new("state").long("state").value_name("STATE").help("only in this state"))
                .arg(Arg::new("epoch").long("epoch").value_name("N").help("only of this epoch"))
                .arg(Arg::new("limit").long("limit").value_name("N").help("at most so many"))
                .arg(json()),
        )
        .subcommand(
            Command::new("history")
                .about("Every attempt at a job")
                .arg(Arg::new("id").required(true).help("job id")),
        )
        .subcommand(
            Command::new("dead-letters")
                .about("Jobs that were given up")
                .subcommand_required(true)
                .subcommand(Command::new("list").about("List them").arg(json()))
                .subcommand(Command::new("replay").about("Give them a fresh budget").arg(ids()))
                .subcommand(Command::new("drop").about("Cancel them").arg(ids())),
        )
        .subcommand(
            Command::new("pardon")
                .about("End an agent's quarantine")
                .arg(Arg::new("agent").required(true).help("agent id")),
        )
        .subcommand(
            Command::new("tokens")
                .about("Access tokens (works on the database: stop a private broker first)")
                .subcommand_required(true)
                .subcommand(
                    Command::new("add")
                        .about("Make a token and print it once")
                        .arg(Arg::new("label").required(true).help("name to list and revoke it by"))
                        .arg(
                            Arg::new("role")
                                .required(true)
                                .value_parser(["producer", "agent", "operator", "reader"])
                                .help("what its bearer may do"),
                        )
                        .arg(Arg::new("tenant").default_value("default").help("whose jobs")),
                )
                .subcommand(Command::new("list").about("List tokens by label"))
                .subcommand(
                    Command::new("revoke")
                        .about("End a token's validity")
                        .arg(Arg::new("label").required(true).help("its label")),
                ),
        )
        .subcommand(Command::new("doctor").about("Check settings, Postgres, schema and broker"))
}

pub(crate) async fn tokens(store: &Store, matches: &ArgMatches) -> Outcome {
    store.migrate().await?;
    match matches.subcommand() {
        Some(("add", args)) => {
            let role = Role::parse(text(args, "role")).unwrap_or(Role::Reader);
            let tenant = text(args, "tenant");
            let simple = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if tenant.is_empty() || tenant.len() > 60 || !tenant.chars().all(simple) {
                return Err(usage("a tenant has 1 to 60 characters of A-Z a-z 0-9 . _ -"));
            }
            let tenant = Tenant(tenant.to_owned());
            println!("{}", store.add_token(text(args, "label"), role, &tenant).await?);
        }
        Some(("revoke", args)) => {
            let label = text(args, "label");
            if !store.revoke_token(label).await? {
                return Err(usage(&format!("no valid token is labelled {label}")));
            }
        }
        _ => {
            for token in store.tokens().await? {
                let state = if token.revoked { "revoked" } else { "valid" };
                println!("{}\t{}\t{}\t{state}", token.label, token.role.as_str(), token.tenant.0);
            }
        }
    }
    Ok(())
}

/// What is asked of a running broker.
pub(crate) async fn ask(config: &Config, name: &str, matches: &ArgMatches) -> Outcome {
    let client = client(config)?;
    match name {
        "status" => {
            let status = client.status().await?;
            if matches.get_flag("json") {
                println!("{}", serde_json::to_string(&status)?);
            } else {
                print_status(&status);
            }
        }
        "jobs" => {
            let state = matches.get_one::<String>("state").map(|name| {
                JobState::parse(name)
                    .ok_or_else(|| usage("state: ready, delayed, leased, done, dead or cancelled"))
            });
            let query = ListQuery {
                state: state.transpose()?,
                epoch: number(matches, "epoch")?,
                limit: number(matches, "limit")?,
            };
            print_jobs(&client.list(&query).await?, matches.get_flag("json"))?;
        }
        "history" => {
            let id: JobId = parse(text(matches, "id"))?;
            for attempt in client.history(&id).await?.attempts {
                let failure = attempt.failure.map_or_else(String::new, |failure| {
                    format!("{}: {}", failure.class.as_str(), failure.message)
                });
                println!("{}\t{}\t{failure}", attempt.agent, attempt.outcome);
            }
        }
        "pardon" => {
            let agent: AgentId = parse(text(matches, "agent"))?;
            if client.pardon(&agent).await? == 0 {
                return Err(usage(&format!("{agent} is not quarantined")));
            }
        }
        "dead-letters" => dead_letters(&client, matches).await?,
        other => return Err(usage(&format!("unknown subcommand {other}"))),
    }
    Ok(())
}

async fn dead_letters(client: &Client, matches: &ArgMatches) -> Outcome {
    let ids = |args: &ArgMatches| -> Result<Vec<JobId>, rollmill_service::Failure> {
        args.get_many::<String>("id").into_iter().flatten().map(|id| parse(id)).collect()
    };
    match matches.subcommand() {
        Some(("replay", args)) => println!("{} replayed", client.replay(&ids(args)?).await?),
        Some(("drop", args)) => println!("{} dropped", client.drop_dead(&ids(args)?).await?),
        Some((_, args)) => {
            let query = ListQuery { state: Some(JobState::Dead), epoch: None, limit: Some(1000) };
            print_jobs(&client.list(&query).await?, args.get_flag("json"))?;
        }
        None => {}
    }
    Ok(())
}

/// Checks one thing after the other and says what to do about each; fails if any is wrong.
pub(crate) async fn doctor(config: &Config) -> Outcome {
    let mut wrong = 0;
    let mut line = |what: &str, result: Result<String, String>| match result {
        Ok(text) => println!("ok    {what}: {text}"),
        Err(text) => {
            wrong += 1;
            println!("WRONG {what}: {text}");
        }
    };
    line("settings", Ok("read".into()));
    let answer = match client(config) {
        Ok(client) => client.status().await.map_err(|error| one_line(&error)),
        Err(error) => Err(one_line(error.as_ref())),
    };
    let running = answer.is_ok();
    if running {
        line("broker", answer.map(|status| format!("answers, {} agents", status.agents.len())));
    } else {
        line("broker", Ok(format!("none answers at {}", config.url())));
    }
    if config.database_url.is_none() {
        let found = discover(config.postgres_bin.as_deref());
        line("postgres", found.map(|b| b.version).map_err(|error| one_line(&error)));
    }
    if config.database_url.is_none() && running {
        line("database", Ok("private, in use by the running broker".into()));
    } else {
        match super::open(config).await {
            Err(error) => line("database", Err(one_line(error.as_ref()))),
            Ok((store, postgres)) => {
                line("database", Ok("reachable".into()));
                let checked = store.check().await.map(|()| "current".into());
                line(
                    "schema",
                    checked.map_err(|error| format!("{}; run `broker migrate`", one_line(&error))),
                );
                super::close(store, postgres).await;
            }
        }
    }
    let probe = config.data_dir.join(".doctor");
    let written =
        std::fs::create_dir_all(&config.data_dir).and_then(|()| std::fs::write(&probe, b"x"));
    let _ = std::fs::remove_file(&probe);
    let shown = config.data_dir.display();
    line(
        "data directory",
        written.map(|()| shown.to_string()).map_err(|error| format!("{shown}: {error}")),
    );
    if wrong == 0 { Ok(()) } else { Err(format!("{wrong} checks failed").into()) }
}

fn client(config: &Config) -> Result<Client, rollmill_service::Failure> {
    let options = Options { patience: std::time::Duration::ZERO, ..Options::default() };
    let token = config.token.as_ref().map(rollmill_service::Secret::reveal);
    Ok(Client::new(&config.url(), token, options)?)
}

fn print_status(status: &StatusResponse) {
    println!("{:<20} {:<14} {:<8} {:>8} {:>10}", "TYPE", "VERSION", "STATE", "JOBS", "OLDEST s");
    for queue in &status.queue {
        let version: String = queue.version.chars().take(14).collect();
        println!(
            "{:<20} {version:<14} {:<8} {:>8} {:>10.0}",
            queue.kind,
            queue.state.as_str(),
            queue.count,
            queue.oldest_seconds
        );
    }
    println!("\n{:<32} {:>6} {:>10} {:>9}", "AGENT", "LEASES", "SEEN s", "REJECTED");
    for agent in &status.agents {
        let mark = if agent.quarantined { " quarantined" } else { "" };
        println!(
            "{:<32} {:>6} {:>10.0} {:>9}{mark}",
            agent.agent.as_str(),
            agent.leases,
            agent.last_seen_seconds,
            agent.rejected
        );
    }
    println!("\n{} dead letters", status.dead_letters);
}

fn print_jobs(jobs: &[JobView], json: bool) -> Outcome {
    if json {
        println!("{}", serde_json::to_string(jobs)?);
        return Ok(());
    }
    for job in jobs {
        let failure = job.failure.as_ref().map_or_else(String::new, |failure| {
            format!("\t{}: {}", failure.class.as_str(), failure.message)
        });
        println!("{}\t{}\t{} attempts{failure}", job.id, job.state.as_str(), job.attempts);
    }
    Ok(())
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

fn number<T: std::str::FromStr>(
    matches: &ArgMatches,
    name: &str,
) -> Result<Option<T>, rollmill_service::Failure> {
    let given = matches.get_one::<String>(name);
    given
        .map(|n| n.parse().map_err(|_| usage(&format!("--{name}: {n} is not a number"))))
        .transpose()
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
) -> Result<T, rollmill_service::Failure> {
    text.parse().map_err(|error: T::Err| usage(&error.to_string()))
}

fn usage(message: &str) -> rollmill_service::Failure {
    Error::Usage { message: message.to_owned() }.into()
}
