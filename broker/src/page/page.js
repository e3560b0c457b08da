// The broker's web page: follows the broker's events and shows them.
//
// All text is set as text: an agent's device or message may hold anything. The first sentence comes from the broker.
"use strict";

(() => {
  const TOKEN = "rollmill-token";
  // The broker speaks at least every 15 s.
  const SILENCE_MS = 40_000;
  const PAUSE_FIRST_MS = 1_000;
  const PAUSE_MAX_MS = 30_000;
  // How long the last overview stays under its own sentence once the connection is lost.
  const LOST_MS = 10_000;
  const STATES = ["ready", "delayed", "input_wanted", "leased", "done", "dead", "cancelled"];
  /** Parts of a bar of jobs, in its order, with the states of each. Cancelled jobs are in none. */
  const PARTS = [
    ["done", ["done"]],
    ["running", ["leased"]],
    ["waiting", ["ready", "delayed", "input_wanted"]],
    ["dead", ["dead"]],
  ];

  const $ = (id) => document.getElementById(id);

  /** What is shown: caller, last overview, how far this clock is ahead of the broker's, and the chosen epoch. */
  const view = { caller: null, overview: null, aheadMs: 0, isLive: false, lostAt: null, epoch: null };
  /** The loop that follows, with the request that it waits for. */
  let following = null;

  // Texts

  function number(count) {
    return count.toLocaleString("en");
  }

  /** A time in one or two units, as the broker writes them. */
  function span(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    const two = (first, unit, second, lower) => `${first} ${unit}${second ? ` ${second} ${lower}` : ""}`;
    if (s < 120) return `${s} s`;
    if (s < 7_200) return `${Math.floor(s / 60)} min`;
    if (s < 172_800) return two(Math.floor(s / 3_600), "h", Math.floor(s / 60) % 60, "min");
    return two(Math.floor(s / 86_400), "d", Math.floor(s / 3_600) % 24, "h");
  }

  function now() {
    return (Date.now() - view.aheadMs) / 1_000;
  }

  function when(unixSeconds) {
    if (unixSeconds === null) return "–";
    const left = unixSeconds - now();
    return left >= 0 ? `in ${span(left)}` : `${span(-left)} ago`;
  }

  function dollars(cents) {
    const two = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
    return `$${(cents / 100).toLocaleString("en", two)}`;
  }

  function words(name) {
    return name.replaceAll("_", " ");
  }

  // Rows

  /** One cell: text, and a small text below it, a bar of percents, or buttons. */
  function fillCell(cell, { text = "", note = "", percent, mark, buttons }) {
    let [line, below] = cell.children;
    if (!line) {
      line = cell.appendChild(document.createElement("span"));
      below = cell.appendChild(document.createElement("small"));
    }
    setText(line, text);
    setText(below, note);
    setMark(cell, mark);
    cell.dataset.empty = String(!text && !note && !buttons?.length);
    if (percent !== undefined) bar(cell, percent);
    if (buttons && !cell.dataset.buttons) {
      cell.dataset.buttons = "1";
      for (const button of buttons) cell.appendChild(button());
    }
  }

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function setMark(element, mark) {
    if (mark) element.dataset.mark = mark;
    else delete element.dataset.mark;
  }

  function bar(cell, percent) {
    let progress = cell.querySelector("progress");
    if (!progress) {
      progress = cell.appendChild(document.createElement("progress"));
      progress.max = 100;
      // The number beside it says the same.
      progress.setAttribute("aria-hidden", "true");
    }
    progress.hidden = percent === null;
    progress.value = percent ?? 0;
  }

  /** Makes the rows of a table body those of `entries`. A row stays the same element while its key does. */
  function fill(body, entries, keyOf, cellsOf) {
    const labels = Array.from(body.closest("table").querySelectorAll("th[scope=col]"), (th) => th.textContent);
    const old = new Map(Array.from(body.rows, (row) => [row.dataset.key, row]));
    let next = body.firstElementChild;
    for (const entry of entries) {
      const key = keyOf(entry);
      let row = old.get(key);
      old.delete(key);
      if (!row) {
        row = document.createElement("tr");
        row.setAttribute("role", "row");
        row.dataset.key = key;
      }
      if (row === next) next = next.nextElementSibling;
      else body.insertBefore(row, next);
      cellsOf(entry).forEach((cell, n) => fillCell(row.children[n] ?? newCell(row, labels[n], n === 0), cell));
    }
    for (const row of old.values()) row.remove();
    body.closest("table").hidden = entries.length === 0;
  }

  function newCell(row, label, isHead) {
    const cell = row.appendChild(document.createElement(isHead ? "th" : "td"));
    cell.setAttribute("role", isHead ? "rowheader" : "cell");
    if (isHead) cell.scope = "row";
    cell.dataset.label = label;
    return cell;
  }

  function action(label, about, run) {
    return () => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.setAttribute("aria-label", `${label} ${about}`);
      button.addEventListener("click", () => run(button));
      return button;
    };
  }

  // Parts of the page

  function showEpochs({ epochs }) {
    setText($("epochs-note"), epochs.length ? "" : "No epoch is open.");
    fill($("epochs"), epochs, (epoch) => String(epoch.epoch), (epoch) => {
      const { deadline_unix_seconds: deadline, finish_unix_seconds: finish, at_risk: isAtRisk } = epoch;
      // A replica of the release before, which this page may follow, sends none.
      const { cost_cents: cost = null } = epoch;
      const margin = deadline === null || finish === null ? null : deadline - finish;
      const spare = margin === null ? "–" : margin >= 0 ? span(margin) : `${span(-margin)} too late`;
      return [
        { text: String(epoch.epoch), note: isAtRisk ? "at risk" : "", mark: isAtRisk ? "trouble" : "" },
        {
          text: epoch.coverage_percent === null ? "–" : `${epoch.coverage_percent} %`,
          note: epoch.done ? `${number(epoch.done)} jobs done` : "",
          percent: epoch.coverage_percent,
        },
        { text: when(deadline) },
        { text: epoch.unfinished ? (finish === null ? "unknown" : when(finish)) : "–" },
        { text: spare, mark: margin !== null && margin < 0 ? "trouble" : "" },
        { text: number(epoch.unfinished) },
        {
          text: epoch.agent_seconds ? span(epoch.agent_seconds) : "–",
          note: cost === null ? "" : dollars(cost),
        },
      ];
    });
  }

  /** The epoch whose jobs are shown: the chosen one while it is there, else the first one in trouble or with work. */
  function chosen(epochs) {
    const of = (holds) => epochs.find(holds);
    return of((e) => e.epoch === view.epoch) ?? of((e) => e.at_risk) ?? of((e) => e.unfinished > 0) ?? epochs[0];
  }

  /** A type in the graph, with its name, a text and a bar. */
  function newType(kind) {
    const item = document.createElement("li");
    item.dataset.kind = kind;
    item.appendChild(document.createElement("strong")).textContent = kind;
    item.appendChild(document.createElement("small"));
    const bar = item.appendChild(document.createElement("div"));
    bar.className = "parts";
    // The text above it says the same.
    bar.setAttribute("aria-hidden", "true");
    for (const [part] of PARTS) bar.appendChild(document.createElement("span")).dataset.part = part;
    return item;
  }

  /** The graph of an epoch: its types in the order in which their proofs follow each other. */
  function showGraph(kinds) {
    const graph = $("graph");
    graph.hidden = kinds.length === 0;
    const names = kinds.map(({ kind }) => kind);
    if (Array.from(graph.children, (item) => item.dataset.kind).join() !== names.join()) {
      graph.replaceChildren(...names.map(newType));
    }
    kinds.forEach(({ states }, n) => {
      const [, text, bar] = graph.children[n].children;
      const counts = PARTS.map(([part, of]) => [part, of.reduce((sum, state) => sum + (states[state] ?? 0), 0)]);
      const all = counts.reduce((sum, [, count]) => sum + count, 0);
      const others = counts.slice(1).filter(([, count]) => count).map(([part, count]) => `, ${number(count)} ${part}`);
      setText(text, all ? `${number(counts[0][1])} of ${number(all)} done${others.join("")}` : "cancelled");
      counts.forEach(([, count], place) => {
        bar.children[place].style.flexGrow = String(count);
      });
    });
  }

  function showJobs({ epochs }) {
    const epoch = chosen(epochs);
    $("jobs-section").hidden = !epoch;
    if (!epoch) return;
    const select = $("epoch");
    const numbers = epochs.map((e) => String(e.epoch));
    if (Array.from(select.options, (option) => option.value).join() !== numbers.join()) {
      select.replaceChildren(...numbers.map((n) => new Option(n, n)));
    }
    select.value = String(epoch.epoch);
    setText($("jobs-note"), epoch.kinds.length ? "" : "No job of this epoch is enqueued, or it is not counted.");
    showGraph(epoch.kinds);
    fill($("jobs"), epoch.kinds, (kind) => kind.kind, ({ kind, states }) => [
      { text: kind },
      ...STATES.map((state) => ({ text: number(states[state] ?? 0), mark: mark(state, states[state]) })),
    ]);
  }

  function mark(state, count) {
    if (!count) return "none";
    return { dead: "trouble", input_wanted: "warning", done: "good" }[state] ?? "";
  }

  function showAgents({ agents }) {
    const { shown, total, live, silent, quarantined, wanted, cents_per_hour: price = null } = agents;
    const parts = [`${number(live)} live`, `${number(wanted)} wanted`];
    if (silent) parts.push(`${number(silent)} silent`);
    if (quarantined) parts.push(`${number(quarantined)} in quarantine`);
    if (price !== null) parts.push(`${dollars(price)} an hour`);
    if (shown.length < total) parts.push(`${number(shown.length)} of ${number(total)} shown`);
    const none = `No agent was heard within a day, ${number(wanted)} wanted.`;
    setText($("agents-note"), total ? `${parts.join(", ")}.` : none);
    const marks = { quarantined: "trouble", silent: "trouble", suspect: "warning", working: "good" };
    fill($("agents"), shown, (agent) => `${agent.agent} ${agent.state === "quarantined"}`, (agent) => {
      const seen = agent.last_seen_unix_seconds;
      const measured = Object.entries(agent.seconds).map(([kind, seconds]) => `${kind} ${seconds.toFixed(1)}\u00a0s`);
      const cells = [
        { text: agent.agent },
        { text: agent.state, note: seen === null ? "" : `heard ${when(seen)}`, mark: marks[agent.state] },
        { text: agent.device || "–", note: agent.software },
        { text: agent.speed === null ? "–" : `${agent.speed}×`, note: measured.join(", ") },
        { text: number(agent.leases) },
        { text: number(agent.rejected), mark: agent.rejected ? "warning" : "" },
      ];
      const pardon = action("Pardon", agent.agent, (button) =>
        act(button, `v1/agents/${encodeURIComponent(agent.agent)}/pardon`, null, `${agent.agent} pardoned`));
      if (isOperator()) cells.push({ buttons: agent.state === "quarantined" ? [pardon] : [] });
      return cells;
    });
  }

  function showQueue({ queue, queue_entries: entries }) {
    const cut = queue.length < entries ? `${number(queue.length)} of ${number(entries)} entries shown.` : "";
    setText($("queue-note"), queue.length ? cut : "No job is unfinished.");
    const key = (entry) => [entry.kind, entry.version, entry.class, entry.state].join(" ");
    fill($("queue"), queue, key, (entry) => [
      {
        text: entry.kind,
        note: entry.unable ? "no live agent can do it" : "",
        mark: entry.unable ? "trouble" : "",
      },
      { text: words(entry.state), mark: entry.state === "input_wanted" ? "warning" : "" },
      { text: number(entry.jobs) },
      { text: span(now() - entry.oldest_unix_seconds) },
      { text: String(entry.class) },
      { text: entry.version.length > 12 ? `${entry.version.slice(0, 12)}…` : entry.version },
    ]);
  }

  function showDead({ dead_letters: { shown, total } }) {
    const cut = shown.length < total ? `${number(shown.length)} of ${number(total)} shown, the newest first.` : "";
    setText($("dead-note"), total ? cut : "There are none.");
    fill($("dead"), shown, (letter) => letter.id, (letter) => {
      const [epoch, kind, digest] = letter.id.split(":");
      const about = `${kind} of epoch ${epoch}`;
      const cells = [
        { text: about, note: digest },
        { text: letter.class === null ? "–" : words(letter.class) },
        { text: letter.message || "–" },
        { text: letter.since_unix_seconds === null ? "–" : when(letter.since_unix_seconds) },
      ];
      const ids = { ids: [letter.id] };
      const replay = action("Replay", about, (button) =>
        act(button, "v1/dead-letters/replay", ids, `${about} replayed`));
      const drop = action("Drop", about, (button) => {
        const question = `Drop ${about}? Its producer learns that it is cancelled.`;
        if (window.confirm(question)) act(button, "v1/dead-letters/drop", ids, `${about} dropped`);
      });
      if (isOperator()) cells.push({ buttons: [replay, drop] });
      return cells;
    });
  }

  function isOperator() {
    return view.caller?.role === "operator";
  }

  function show() {
    const { overview } = view;
    if (!overview) return;
    const isLost = view.lostAt !== null && Date.now() - view.lostAt > LOST_MS;
    const { severity, text } = isLost
      ? { severity: "trouble", text: "This page has lost its connection to the broker." }
      : overview.headline;
    setText($("headline"), text);
    $("headline").dataset.severity = severity;
    document.title = `${text} – Rollmill broker`;
    document.body.dataset.stale = String(isLost);
    document.body.dataset.role = view.caller?.role ?? "";
    $("overview").hidden = false;
    setText($("to-epochs"), `Epochs ${number(overview.epochs.length)}`);
    setText($("to-agents"), `Agents ${number(overview.agents.total)}`);
    setText($("to-queue"), `Queue ${number(overview.queue.reduce((sum, entry) => sum + entry.jobs, 0))}`);
    setText($("to-dead"), `Dead letters ${number(overview.dead_letters.total)}`);
    for (const part of [showEpochs, showJobs, showAgents, showQueue, showDead]) part(overview);
  }

  function state(name, text) {
    document.body.dataset.state = name;
    setText($("connection"), text);
  }

  // Requests

  function token() {
    return window.sessionStorage.getItem(TOKEN);
  }

  function headers() {
    const own = token();
    return own ? { authorization: `Bearer ${own}` } : {};
  }

  /** What a broker says of a request that it rejects. */
  async function reason(response) {
    try {
      const { code, message } = await response.json();
      return `${code}: ${message}`;
    } catch {
      return `the answer is ${response.status} without a broker's code`;
    }
  }

  async function act(button, path, body, done) {
    button.disabled = true;
    const json = body && { "content-type": "application/json" };
    let text;
    try {
      const request = { method: "POST", headers: { ...headers(), ...json }, body: body && JSON.stringify(body) };
      const response = await fetch(path, request);
      text = response.ok ? `${done}.` : `This failed. ${await reason(response)}`;
    } catch (error) {
      text = `This failed. ${error.message}`;
    }
    button.disabled = false;
    const result = $("result");
    result.hidden = false;
    setText(result, text);
    // Whoever cannot see it hears it by the focus.
    result.focus();
  }

  // The stream

  /** The events of a stream of bytes, each with its name and its data. */
  async function* events(body, heard) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      text += decoder.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
        if (fields.event) yield [fields.event, JSON.parse(fields.data)];
      }
    }
  }

  function take(name, data) {
    if (name === "caller") {
      Object.assign(view, { caller: data, aheadMs: Date.now() - data.now_unix_ms, isLive: true, lostAt: null });
      $("entry").hidden = true;
      $("leave").hidden = !token();
      state("live", `Live, ${data.role}`);
    } else if (name === "overview") {
      view.overview = data;
      show();
    }
  }

  /** Follows until the stream ends; returns what the form is to say where a token is needed. */
  async function followOnce(abort) {
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    heard();
    try {
      const response = await fetch("v1/events", { headers: headers(), cache: "no-store", signal: abort.signal });
      if (response.status === 401) return token() ? "The broker does not know this token." : "";
      if (response.status === 403) return `The broker rejects this token. ${await reason(response)}`;
      if (!response.ok) throw new Error(await reason(response));
      for await (const [name, data] of events(response.body, heard)) take(name, data);
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  async function follow() {
    const loop = { attempt: null };
    following = loop;
    let pause = PAUSE_FIRST_MS;
    for (;;) {
      let why = "the stream ended";
      loop.attempt = new AbortController();
      view.isLive = false;
      try {
        const needed = await followOnce(loop.attempt);
        if (following === loop && needed !== null) return ask(needed);
      } catch (error) {
        why = error.message;
      }
      if (following !== loop) return;
      if (view.isLive) pause = PAUSE_FIRST_MS;
      view.lostAt ??= Date.now();
      state("lost", `Not connected (${why}). Trying again.`);
      // Many pages must not come back at one moment.
      await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())));
      if (following !== loop) return;
      pause = Math.min(pause * 2, PAUSE_MAX_MS);
    }
  }

  /** Asks for a token. Nothing that another one showed stays on the page. */
  function ask(note) {
    const loop = following;
    following = null;
    loop?.attempt?.abort();
    window.sessionStorage.removeItem(TOKEN);
    Object.assign(view, { caller: null, overview: null, isLive: false, lostAt: null, epoch: null });
    for (const id of ["epochs", "graph", "jobs", "agents", "queue", "dead"]) $(id).replaceChildren();
    $("overview").hidden = true;
    $("result").hidden = true;
    $("leave").hidden = true;
    $("entry").hidden = false;
    setText($("entry-note"), note);
    setText($("headline"), "This broker asks for a token.");
    $("headline").dataset.severity = "none";
    document.title = "Rollmill broker";
    document.body.dataset.stale = "false";
    state("asking", "Not connected");
  }

  $("entry").addEventListener("submit", (event) => {
    event.preventDefault();
    window.sessionStorage.setItem(TOKEN, $("token").value.trim());
    $("token").value = "";
    state("connecting", "Connecting");
    follow();
  });
  $("leave").addEventListener("click", () => ask(""));
  $("epoch").addEventListener("change", (event) => {
    view.epoch = Number(event.target.value);
    show();
  });
  // Times go on between two overviews.
  setInterval(() => document.hidden || show(), 1_000);
  document.addEventListener("visibilitychange", () => document.hidden || show());
  follow();
})();
