// The table and the details. Text from the data only ever becomes a text node or an attribute value, never markup.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const index = JSON.parse($("index").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const STATES = { e: "enabled", d: "disabled", u: "unknown" };
  const STATE_ORDER = { e: 0, d: 1, u: 2 };
  const STATE_ICONS = { enabled: "dot", disabled: "ring", unknown: "question" };
  const READY_ICONS = { ready: "check", "not-ready": "cross", unknown: "question" };
  const WAY_ICONS = { tunnel: "through", "re-encrypts": "recut", blocked: "block", unknown: "question" };
  const SEVERITY_ICONS = { failure: "cross", warning: "warn", info: "info" };
  const severityWord = Object.fromEntries(index.severities);

  // Hosts are numbers: places in the order of names. What the table shows of a host is its kind's, and few kinds there are.
  const names = index.kind.length ? index.names.split("\r") : [];
  const extras = index.extras.split("\r").map((text) => text.split("\f"));
  const kinds = index.kinds.map(([role, ready, states, tones, disputed, counts, tags, rules, words, outStates, outTones, outDisputed, ways]) => ({
    role, ready, states, tones, disputed, counts, tags, rules, words,
    outbound: outStates ? { states: outStates, tones: outTones, disputed: outDisputed } : null,
    ways: ways || [],
  }));
  const kindOf = Uint32Array.from(index.kind);
  const extraOf = Uint32Array.from(index.extra);
  const netOf = index.net ? Int32Array.from(index.net) : null;
  index.kind = index.extra = index.net = index.names = index.extras = null;
  const total = names.length;
  const again = new Map(Object.entries(index.again).map(([place, number]) => [Number(place), number]));
  const anchorOf = (place) => (again.has(place) ? `${names[place]}~${again.get(place)}` : names[place]);
  const othersOf = (place) => extras[extraOf[place]][0].split("\v").filter(Boolean);
  let places = null;

  function placeOf(anchor) {
    if (!anchor) return undefined;
    places ??= new Map(names.map((_, place) => [anchorOf(place), place]));
    return places.get(anchor);
  }

  // Building elements

  function append(parent, children) {
    for (const child of children.flat(3)) {
      if (child === null || child === undefined || child === false || child === "") continue;
      parent.append(child);
    }
    return parent;
  }

  function h(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      element.setAttribute(name, value === true ? "" : value);
    }
    return append(element, children);
  }

  function icon(name, extra) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", extra ? `icon ${extra}` : "icon");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("focusable", "false");
    const use = document.createElementNS(SVG, "use");
    use.setAttribute("href", `#i-${name}`);
    svg.append(use);
    return svg;
  }

  const bdi = (text) => h("bdi", null, text);
  // A long name may break after a dot.
  const nameOf = (text) => h("bdi", null, text.split(/(?<=\.)/).map((part, place) => [place > 0 && h("wbr"), part]));
  const plural = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
  const readableTime = (text) => (text ? text.replace("T", " ").replace("Z", " UTC") : "–");

  function chip(state, severity, isDisputed) {
    return h(
      "span",
      { class: `chip ${state} ${severity}` },
      icon(STATE_ICONS[state]),
      state,
      severity && severity !== "info" && [icon(SEVERITY_ICONS[severity]), h("span", { class: "sr" }, ` (${severity})`)],
      isDisputed && h("span", { class: "disputed" }, icon("dispute"), "disputed"),
    );
  }

  function readyBadge(ready) {
    const [value, word] = index.readiness[ready];
    return h("span", { class: `badge ${value}` }, icon(READY_ICONS[value]), word);
  }

  function severityBadge(severity) {
    return h("span", { class: `badge ${severity}` }, icon(SEVERITY_ICONS[severity]), severityWord[severity]);
  }

  // What is shown: kept in the address after the #, so that a view can be sent to a colleague

  const DEFAULTS = { q: "", ready: "", role: "", side: "", v: "", state: "", tag: "", rule: "", net: "", like: "", sort: "ready", dir: "asc", size: "50", page: "1", host: "" };
  const FILTERS = ["q", "ready", "role", "side", "v", "state", "tag", "rule", "net", "like"];
  const view = { ...DEFAULTS };
  let found = new Uint32Array(0);

  const hashParameters = () => new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));

  function readHash() {
    if (!location.hash.includes("=")) return false;
    const parameters = hashParameters();
    const names = [...parameters.keys()];
    const isHostOnly = names.length === 1 && names[0] === "host";
    if (!isHostOnly) Object.assign(view, DEFAULTS);
    for (const name of names) if (Object.hasOwn(DEFAULTS, name)) view[name] = parameters.get(name);
    return !isHostOnly;
  }

  function hashText() {
    return Object.keys(DEFAULTS)
      .filter((name) => view[name] !== DEFAULTS[name])
      .map((name) => `${name}=${encodeURIComponent(view[name])}`)
      .join("&");
  }

  function writeHash(isNewEntry) {
    const text = hashText();
    const url = text ? `#${text}` : location.pathname + location.search;
    try {
      if (isNewEntry) history.pushState(null, "", url);
      else history.replaceState(null, "", url);
    } catch {
      // Some viewers forbid it; the view then works without being kept in the address.
    }
  }

  // Filter and sort

  const versionTitle = new Map(index.versions);
  const versionPlace = new Map(index.versions.map(([label], place) => [label, place]));

  const isOut = () => view.side === "out";
  // What is shown of a kind: one of its two sides. A host that was not asked has no outbound one.
  const sideOf = (kind) => (isOut() && kind.outbound) || kind;

  // A kind passes or fails for all its hosts; only words and networks are asked of each host.
  function planKinds() {
    const tests = [];
    if (isOut()) tests.push((kind) => kind.outbound !== null);
    const ready = index.readiness.findIndex(([value]) => value === view.ready);
    if (view.ready) tests.push((kind) => kind.ready === ready);
    const role = index.roles.findIndex(([value]) => value === view.role);
    if (view.role) tests.push((kind) => kind.role === role);
    const tag = index.tags.indexOf(view.tag);
    if (view.tag) tests.push((kind) => kind.tags.includes(tag));
    const rule = index.rules.indexOf(view.rule);
    if (view.rule) tests.push((kind) => kind.rules.includes(rule));
    if (view.like) tests.push((kind) => kind.states === view.like);
    const columns = versionPlace.has(view.v) ? [versionPlace.get(view.v)] : index.versions.map((_, place) => place);
    if (view.state === "disputed") tests.push((kind) => columns.some((place) => sideOf(kind).disputed & (1 << place)));
    else if (view.state) tests.push((kind) => columns.some((place) => STATES[sideOf(kind).states[place]] === view.state));
    return kinds.map((kind) => tests.every((test) => test(kind)));
  }

  let lowNames = null;
  let lowExtras = null;

  // Return a test of one word, by place. Kinds and extras are searched once each, not once a host.
  function planWord(word) {
    lowNames ??= names.map((name) => name.toLowerCase());
    const inKind = kinds.map((kind) => [kind.words, ...kind.ways.map((way) => index.ways[way]), index.roles[kind.role][1], ...kind.tags.map((tag) => index.tags[tag])].join("\n").toLowerCase().includes(word));
    lowExtras ??= extras.map((parts) => parts.join("\n").toLowerCase());
    const inExtra = lowExtras.map((text) => text.includes(word));
    return (place) => lowNames[place].includes(word) || inExtra[extraOf[place]] || inKind[kindOf[place]];
  }

  function filterPlaces() {
    const passes = planKinds();
    const words = view.q.toLowerCase().split(/\s+/).filter(Boolean).map(planWord);
    const net = index.nets.findIndex(([name]) => name === view.net);
    const kept = new Uint32Array(total);
    let count = 0;
    for (let place = 0; place < total; place += 1) {
      if (!passes[kindOf[place]]) continue;
      if (view.net && netOf[place] !== net) continue;
      if (!words.every((has) => has(place))) continue;
      kept[count] = place;
      count += 1;
    }
    return kept.subarray(0, count);
  }

  const compareLists = (a, b) => {
    const differing = a.findIndex((value, place) => value !== b[place]);
    return differing < 0 ? 0 : a[differing] - b[differing];
  };

  // Kinds are sorted, and hosts dealt into their kinds' buckets in the order of names: no comparison of hosts.
  function sortPlaces(kept) {
    if (view.sort === "name") return view.dir === "desc" ? kept.slice().reverse() : kept;
    const column = versionPlace.get(view.sort);
    const keys = {
      role: (kind) => kind.role,
      ready: (kind) => kind.ready,
      findings: (kind) => -(kind.counts[0] * 1e6 + kind.counts[1] * 1e3 + kind.counts[2]),
    };
    const key = column === undefined ? keys[view.sort] || keys.ready : (kind) => STATE_ORDER[sideOf(kind).states[column]];
    const sign = view.dir === "desc" ? -1 : 1;
    // Among equals the worst stand first, whichever way the column is sorted.
    const ranks = kinds.map((kind) => [sign * key(kind), kind.ready, ...kind.counts.map((count) => -count)]);
    const order = ranks.map((_, number) => number).sort((a, b) => compareLists(ranks[a], ranks[b]));
    const bucketOf = new Uint32Array(kinds.length);
    let bucket = 0;
    order.forEach((number, place) => {
      if (place > 0 && compareLists(ranks[order[place - 1]], ranks[number])) bucket += 1;
      bucketOf[number] = bucket;
    });
    const starts = new Uint32Array(bucket + 2);
    for (const place of kept) starts[bucketOf[kindOf[place]] + 1] += 1;
    for (let number = 1; number < starts.length; number += 1) starts[number] += starts[number - 1];
    const sorted = new Uint32Array(kept.length);
    for (const place of kept) {
      const own = bucketOf[kindOf[place]];
      sorted[starts[own]] = place;
      starts[own] += 1;
    }
    return sorted;
  }

  // The table

  function buildRow(row) {
    const kind = kinds[kindOf[row]];
    const tags = kind.tags.map((tag) => h("span", { class: "tag" }, bdi(index.tags[tag])));
    const others = othersOf(row);
    const address = [others[0], others.length > 1 && `+${others.length - 1}`].filter(Boolean).join(" ");
    return h(
      "tr",
      { role: "row", "data-place": String(row) },
      h(
        "th",
        { role: "rowheader", scope: "row", class: "host" },
        h("a", { href: `#host=${encodeURIComponent(anchorOf(row))}` }, nameOf(names[row])),
        (address || tags.length > 0) && h("span", { class: "host-more" }, bdi(address), tags),
      ),
      h("td", { role: "cell", class: "role" }, index.roles[kind.role][1], kind.ways.map((way) => wayMark(way, ""))),
      h("td", { role: "cell", class: "ready" }, readyBadge(kind.ready)),
      index.versions.map(([, title], place) => h("td", { role: "cell", class: "state", "data-label": title }, kindChip(sideOf(kind), place))),
      h("td", { role: "cell", class: "counts" }, tallies(kind.counts)),
    );
  }

  // side: a kind, for what it accepts, or its outbound.
  function kindChip(side, place) {
    const severity = { f: "failure", w: "warning", i: "info", "-": "" }[side.tones[place]];
    return chip(STATES[side.states[place]], severity, Boolean(side.disputed & (1 << place)));
  }

  function wayMark(way, tone) {
    return h("span", { class: `way ${tone}` }, icon(WAY_ICONS[way]), index.ways[way]);
  }

  function tallies(counts) {
    const parts = counts.map((count, place) => {
      if (!count) return null;
      const [severity, word] = index.severities[place];
      return h("span", { class: `tally ${severity}` }, icon(SEVERITY_ICONS[severity]), String(count), h("span", { class: "sr" }, ` ${word} `));
    });
    return parts.some(Boolean) ? parts : h("span", { class: "soft" }, "none");
  }

  const pageCount = () => Math.max(1, Math.ceil(found.length / Number(view.size)));

  function showRows(from, to) {
    const fragment = document.createDocumentFragment();
    for (const row of found.subarray(from, to)) fragment.append(buildRow(row));
    $("rows").replaceChildren(fragment);
  }

  function showPage() {
    const page = Math.min(Math.max(1, Math.trunc(Number(view.page)) || 1), pageCount());
    view.page = String(page);
    const size = Number(view.size);
    showRows((page - 1) * size, page * size);
    $("page").textContent = `Page ${page.toLocaleString("en")} of ${pageCount().toLocaleString("en")}`;
    $("previous").disabled = page === 1;
    $("next").disabled = page === pageCount();
  }

  function showTable() {
    if (!total) return;
    found = sortPlaces(filterPlaces());
    showPage();
    const isFiltered = found.length !== total;
    $("count").textContent = isFiltered ? `${found.length.toLocaleString("en")} of ${plural(total, "host", "hosts")}` : plural(total, "host", "hosts");
    $("empty").hidden = found.length > 0;
    $("matrix").hidden = found.length === 0;
    $("pager").hidden = found.length <= 25;
    if ($("side-word")) $("side-word").textContent = isOut() ? ", outbound" : ", inbound";
    $("reset").disabled = FILTERS.every((name) => view[name] === "");
    for (const name of FILTERS) {
      const control = $(name);
      if (!control) continue;
      if (control.value !== view[name]) control.value = view[name];
      control.closest(".field").classList.toggle("is-set", view[name] !== "");
    }
    showChosen();
    $("size").value = view.size;
    for (const button of document.querySelectorAll("#matrix [data-sort]")) {
      const isSorted = button.dataset.sort === view.sort;
      button.closest("th").setAttribute("aria-sort", !isSorted ? "none" : view.dir === "desc" ? "descending" : "ascending");
    }
  }

  // Filters that have no field of their own: they come from the networks and the answers above the table.
  function showChosen() {
    const words = [view.net && ["net", "Network", view.net], view.like && ["like", "Accepts", likeWords()]].filter(Boolean);
    const buttons = words.map(([name, title, value]) => {
      const button = h("button", { type: "button", class: "quiet", "aria-label": `${title} ${value}: clear this filter` }, h("span", { class: "soft" }, title), bdi(value), icon("cross"));
      button.addEventListener("click", () => {
        change({ [name]: "", page: "1" });
        $("q").focus();
      });
      return button;
    });
    $("chosen").replaceChildren(...buttons);
    $("chosen").hidden = buttons.length === 0;
  }

  function likeWords() {
    const accepted = index.versions.filter((_, place) => view.like[place] === "e").map(([, title]) => title);
    const unknown = [...view.like].filter((letter) => letter === "u").length;
    return [accepted.join(", ") || "nothing", unknown > 0 && plural(unknown, "version unknown", "versions unknown")].filter(Boolean).join("; ");
  }

  function checkView() {
    if (!index.nets.some(([name]) => name === view.net)) view.net = "";
    if (!kinds.some((kind) => kind.states === view.like)) view.like = "";

    if (!["25", "50", "100", "200"].includes(view.size)) view.size = DEFAULTS.size;
    for (const name of ["ready", "role", "side", "v", "state", "tag", "rule"]) {
      const control = $(name);
      const isKnown = control && [...control.options].some((option) => option.value === view[name]);
      if (!isKnown) view[name] = "";
    }
  }

  // The details are read when the first host is opened: a form that hosts share, and what is a host's own

  const SLOTS = "\ue000\ue001\ue002\ue003\ue004";
  const TIME = "\ue005";
  let detail = null;
  let lines = null;

  function unpackNode(number, fill) {
    const node = detail.nodes[number];
    if (typeof node === "string") return fill ? fill(node) : node;
    if (!Array.isArray(node)) return node;
    if (node[0] === -1) return node.slice(1).map((member) => unpackNode(member, fill));
    const object = Object.create(null);
    detail.shapes[node[0]].forEach((name, place) => {
      object[fill ? fill(name) : name] = unpackNode(node[place + 1], fill);
    });
    return object;
  }

  function readCertificate(number) {
    if (lines === null) {
      const text = $("certificates").textContent;
      const starts = [0];
      for (let place = text.indexOf("\n"); place >= 0; place = text.indexOf("\n", place + 1)) starts.push(place + 1);
      lines = { text, starts };
    }
    const [rest, subject, notBefore, notAfter, sha256, own] = JSON.parse(lines.text.slice(lines.starts[number], lines.starts[number + 1]));
    const same = typeof rest === "number" ? unpackNode(detail.rests[rest], null) : rest;
    return { ...same, subject, not_before: notBefore, not_after: notAfter, sha256, names: own };
  }

  function timesOf(row) {
    const runs = (detail.patterns[detail.pattern[row]] || "").split(",").filter(Boolean);
    return runs.flatMap((run) => {
      const [after, count] = run.split("*").map(Number);
      return Array(count).fill(new Date((detail.base[row] + after) * 1000).toISOString().replace(".000Z", "Z"));
    });
  }

  // Return {host, findings}, or null where the report was too large to hold them.
  function detailOf(row) {
    detail ??= JSON.parse($("detail").textContent);
    if (detail.form[row] < 0) return null;
    const values = [names[row], ...othersOf(row)];
    const times = timesOf(row).values();
    const fill = (text) => (text === TIME ? times.next().value : text.replace(/[\ue000-\ue004]/g, (slot) => values[SLOTS.indexOf(slot)] ?? slot));
    const whole = unpackNode(detail.form[row], fill);
    const first = detail.certificate[row];
    const numbers = (first < 0 ? [] : [first, ...(detail.more[row] || [])]).values();
    for (const endpoint of whole.host.endpoints) {
      endpoint.certificates = Array.from({ length: endpoint.certificates }, () => readCertificate(numbers.next().value));
    }
    for (const path of whole.host.paths) {
      for (const member of ["certificates", "direct_certificates"]) {
        path[member] = Array.from({ length: path[member] }, () => readCertificate(numbers.next().value));
      }
    }
    return whole;
  }

  // One host

  const pair = (term, ...values) => [h("dt", null, term), h("dd", null, ...values)];
  const section = (title, ...children) => h("section", null, h("h3", null, title), ...children);
  const gapLine = (gap) => [index.gaps[gap.reason] || gap.reason, gap.detail && [": ", bdi(gap.detail)], h("span", { class: "where" }, gap.reason, gap.version && ` · ${versionTitle.get(gap.version) || gap.version}`)];

  function copyButton(text, words) {
    const button = h("button", { type: "button", class: "quiet copy" }, icon("copy"), words);
    button.addEventListener("click", () => copy(text));
    return button;
  }

  function citation(item) {
    // The report's writer has already dropped what is not https; this is the second lock.
    const isLink = item.url.startsWith("https://");
    return h(
      "li",
      null,
      isLink
        ? h("a", { href: item.url, rel: "noreferrer noopener", target: "_blank" }, item.title, icon("out"), h("span", { class: "sr" }, " (opens another site)"))
        : item.title,
      item.quote && [" ", h("q", null, item.quote)],
      !item.verified && [" ", h("span", { class: "mark" }, "unverified")],
    );
  }

  function findingBlock(finding) {
    return h(
      "div",
      { class: `d-finding ${finding.severity}` },
      h("p", { class: "title" }, severityBadge(finding.severity), finding.title),
      h("div", { class: "advice" }, h("p", { class: "advice-text" }, finding.advice), copyButton(finding.advice, "Copy advice")),
      finding.citations.length > 0 && h("ul", { class: "citations" }, finding.citations.map(citation)),
      finding.scopes.length > 0 && h("ul", { class: "host-list soft", "aria-label": "Endpoints concerned" }, finding.scopes.map((scope) => h("li", null, bdi(scope)))),
    );
  }

  function evidenceItem(item, isAgainst) {
    const facts = Object.entries(item.facts || {}).map(([name, value]) => `${name} ${value}`);
    return h(
      "li",
      { class: isAgainst && "against" },
      isAgainst && h("strong", null, `Says ${item.state}: `),
      bdi(item.reason),
      h(
        "span",
        { class: "where" },
        [index.basis[item.basis] || item.basis, item.source].filter(Boolean).join(" · "),
        " · ",
        bdi(item.origin),
        ` · ${readableTime(item.seen_at)}`,
        facts.length > 0 && [" · ", bdi(facts.join(", "))],
      ),
    );
  }

  function evidenceOf(verdict) {
    const against = verdict.opposing || [];
    const number = verdict.evidence.length + against.length;
    if (number === 0 && verdict.gaps.length === 0) return null;
    const label = [number && plural(number, "piece of evidence", "pieces of evidence"), verdict.gaps.length && plural(verdict.gaps.length, "gap", "gaps")];
    return h(
      "details",
      { class: "evidence", open: verdict.disputed },
      h("summary", null, label.filter(Boolean).join(", ")),
      h("ul", null, verdict.evidence.map((item) => evidenceItem(item, false)), against.map((item) => evidenceItem(item, true)), verdict.gaps.map((gap) => h("li", null, "Not known: ", gapLine(gap))), verdict.left_out && h("li", null, `and ${verdict.left_out.toLocaleString("en")} more, in the JSON report`)),
    );
  }

  const versionHead = (label) => h("th", { scope: "row" }, versionTitle.get(label) || label);
  const verdictChip = (verdict, severity) => chip(verdict.state, severity(verdict.version, verdict.direction), verdict.disputed);

  function verdictTable(verdicts, severity, title) {
    return h(
      "table",
      { class: "lines" },
      h("caption", { class: "sr" }, title),
      h("thead", null, h("tr", null, h("th", { scope: "col", class: "v-col" }, "Version"), h("th", { scope: "col", class: "s-col" }, "State"), h("th", { scope: "col" }, "Why"))),
      h("tbody", null, verdicts.map((verdict) => h("tr", null, versionHead(verdict.version), h("td", null, verdictChip(verdict, severity)), h("td", null, bdi(verdict.reason), evidenceOf(verdict))))),
    );
  }

  // Both directions of a host side by side; one alone where the other was not asked about.
  function hostVerdicts(verdicts, severity) {
    const inbound = verdicts.filter((verdict) => verdict.direction === "inbound");
    const outbound = new Map(verdicts.filter((verdict) => verdict.direction === "outbound").map((verdict) => [verdict.version, verdict]));
    if (outbound.size === 0) return verdictTable(inbound, severity, "Verdicts, inbound");
    const side = (verdict, label) => h("td", { "data-side": label }, verdict ? [verdictChip(verdict, severity), h("div", { class: "side-why" }, bdi(verdict.reason), evidenceOf(verdict))] : "–");
    return h(
      "table",
      { class: "lines both" },
      h("caption", { class: "sr" }, "Verdicts, inbound and outbound"),
      h("thead", null, h("tr", null, h("th", { scope: "col", class: "v-col" }, "Version"), h("th", { scope: "col" }, "Inbound: what it accepts"), h("th", { scope: "col" }, "Outbound: what it uses as a client"))),
      h("tbody", null, inbound.map((verdict) => h("tr", null, versionHead(verdict.version), side(verdict, "Inbound"), side(outbound.get(verdict.version), "Outbound")))),
    );
  }

  function expiry(text) {
    if (!text) return "–";
    const left = Date.parse(text) - Date.parse(index.started_at);
    const count = Math.floor(Math.abs(left) / 864e5);
    const days = count ? plural(count, "day", "days") : "less than a day";
    const [tone, shape, words] =
      left < 0
        ? ["no", "cross", `expired ${days} before the run`]
        : [count < 30 ? "soon" : "yes", count < 30 ? "warn" : "check", `${days} left at the run`];
    return [readableTime(text), " ", h("span", { class: `expiry ${tone}` }, icon(shape), words)];
  }

  function certificateBlock(item) {
    const long = (text) => h("div", { class: "long" }, bdi(text));
    return h(
      "div",
      { class: "certificate" },
      h(
        "dl",
        { class: "pairs" },
        item.parse_error && pair("Not readable", long(item.parse_error)),
        item.subject && pair("Subject", long(item.subject)),
        item.issuer && pair("Issuer", long(item.issuer)),
        pair("Valid from", readableTime(item.not_before)),
        pair("Expires", expiry(item.not_after)),
        item.names.length > 0 && pair("Names", h("div", { class: "long" }, item.names.map((name, place) => [place > 0 && ", ", bdi(name)]))),
        item.key && pair("Key", bdi(item.key)),
        pair("Certificates sent", String(item.chain_count)),
        pair("SHA-256", h("code", null, item.sha256), " ", copyButton(item.sha256, "Copy")),
        item.trust.length > 0 &&
          pair(
            "Trust by store",
            h(
              "ul",
              null,
              item.trust.map((trust) =>
                h(
                  "li",
                  null,
                  h("span", { class: `trusted ${trust.trusted ? "yes" : "no"}` }, icon(trust.trusted ? "check" : "cross"), trust.trusted ? "trusted" : "not trusted"),
                  ` by ${trust.store} `,
                  h("span", { class: "soft" }, `(${trust.store_version})`),
                  trust.error && [": ", bdi(trust.error)],
                ),
              ),
            ),
          ),
      ),
    );
  }

  function handshakeTable(handshakes) {
    return h(
      "table",
      { class: "lines" },
      h("caption", { class: "sr" }, "Handshakes"),
      h("thead", null, h("tr", null, h("th", { scope: "col", class: "v-col" }, "Version"), h("th", { scope: "col", class: "s-col" }, "Outcome"), h("th", { scope: "col" }, "Cipher suite"))),
      h(
        "tbody",
        null,
        handshakes.map((item) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, versionTitle.get(item.version) || item.version),
            h("td", null, h("span", { class: `trusted ${item.completed ? "yes" : "soft"}` }, icon(item.completed ? "check" : "cross"), item.completed ? "completed" : "not completed")),
            h(
              "td",
              null,
              item.cipher_suite ? h("code", null, bdi(item.cipher_suite)) : "–",
              item.client_certificate_requested && h("span", { class: "where soft" }, " asks for a client certificate"),
              item.error && h("span", { class: "where soft" }, " ", bdi(item.error)),
              h("span", { class: "where soft" }, ` ${item.engine}`),
            ),
          ),
        ),
      ),
    );
  }

  function endpointBlock(item, isOpen, severity) {
    const summary = index.versions
      .map(([label, title]) => [title, item.verdicts.find((verdict) => verdict.version === label && verdict.direction === "inbound")])
      .filter(([, verdict]) => verdict && verdict.state === "enabled")
      .map(([title]) => title);
    const own = item.gaps.filter((gap) => !gap.version);
    return h(
      "details",
      { class: "endpoint", open: isOpen },
      h(
        "summary",
        null,
        h("strong", null, bdi(item.locator)),
        h("span", { class: "soft" }, item.server_name ? ["server name ", bdi(item.server_name)] : "no server name sent"),
        item.is_optional && h("span", { class: "mark" }, "optional port"),
        h("span", { class: "soft" }, summary.length ? `accepts ${summary.join(", ")}` : "no version known to be accepted"),
        icon("chevron", "turn"),
      ),
      h(
        "div",
        { class: "endpoint-body" },
        own.length > 0 && h("ul", { class: "evidence" }, own.map((gap) => h("li", null, gapLine(gap)))),
        verdictTable(item.verdicts, severity, "Verdicts, inbound"),
        item.handshakes.length > 0 && [h("h4", null, "Handshakes"), handshakeTable(item.handshakes)],
        item.certificates.length > 0 && [h("h4", null, item.certificates.length === 1 ? "Certificate" : "Certificates"), item.certificates.map(certificateBlock)],
        h("p", { class: "soft note" }, `${plural(item.connections, "connection", "connections")} opened for the versions question.`),
      ),
    );
  }

  // A host's clients

  const limitList = (limits) => limits.length > 0 && [h("h4", null, "What this can't show"), h("ul", { class: "limits" }, limits.map((text) => h("li", null, bdi(text))))];
  const versionNames = (labels) => labels.map((label) => versionTitle.get(label) || label).join(", ");
  const enabledOf = (verdicts) => versionNames(verdicts.filter((verdict) => verdict.state === "enabled").map((verdict) => verdict.version));

  function codeList(codes, one, many) {
    return codes.length > 4
      ? h("details", { class: "evidence" }, h("summary", null, plural(codes.length, one, many)), h("code", null, codes.join(" ")))
      : h("code", null, codes.join(" "));
  }

  function helloBlock(hello) {
    const offers = versionNames(hello.versions) || "no version known";
    return h(
      "div",
      { class: "certificate" },
      h(
        "dl",
        { class: "pairs" },
        pair("Offers", hello.has_version_list ? offers : `up to ${offers}`, " ", h("span", { class: "soft" }, hello.has_version_list ? "(it lists its versions)" : "(it names its highest version only)")),
        pair("Format", hello.ssl2_format ? "SSL 2.0" : "TLS"),
        hello.ja4 && pair("JA4", h("code", null, bdi(hello.ja4)), " ", copyButton(hello.ja4, "Copy")),
        pair("Server name", hello.server_name === null ? "none" : bdi(hello.server_name)),
        hello.alpn.length > 0 && pair("ALPN", hello.alpn.map((name, place) => [place > 0 && ", ", bdi(name)])),
        hello.suites.length > 0 && pair("Cipher suites", codeList(hello.suites, "suite", "suites")),
        hello.groups.length > 0 && pair("Groups", codeList(hello.groups, "group", "groups")),
        pair("Size", plural(hello.size_bytes, "byte", "bytes")),
        pair("Seen", `${plural(hello.count, "connection", "connections")}, first ${readableTime(hello.first_seen_at)}`),
      ),
    );
  }

  function settledTable(settled) {
    return h(
      "table",
      { class: "lines" },
      h("caption", { class: "sr" }, "What it settled for"),
      h("thead", null, h("tr", null, h("th", { scope: "col", class: "v-col" }, "Only"), h("th", { scope: "col" }, "Outcome"), h("th", { scope: "col", class: "s-col" }, "Connections"))),
      h("tbody", null, settled.map((item) => h("tr", null, versionHead(item.version), h("td", null, bdi(item.outcome)), h("td", null, plural(item.count, "connection", "connections"))))),
    );
  }

  function clientBlock(client, isOpen, severity) {
    const own = client.gaps.filter((gap) => !gap.version);
    const enabled = enabledOf(client.verdicts);
    return h(
      "details",
      { class: "endpoint", open: isOpen },
      h(
        "summary",
        null,
        h("strong", null, bdi(client.method_title)),
        h("span", { class: "soft" }, bdi(client.scope)),
        h("span", { class: "soft" }, enabled ? `uses ${enabled}` : "no version known to be used"),
        icon("chevron", "turn"),
      ),
      h(
        "div",
        { class: "endpoint-body" },
        own.length > 0 && h("ul", { class: "evidence" }, own.map((gap) => h("li", null, gapLine(gap)))),
        limitList(client.limits),
        client.settled.length > 0 && [h("h4", null, "What it settled for where the listener spoke one version only"), settledTable(client.settled)],
        client.hellos.length > 0 && [h("h4", null, client.hellos.length === 1 ? "The hello it sent" : "The hellos it sent"), client.hellos.map(helloBlock)],
        h("h4", null, "Verdicts of this client"),
        verdictTable(client.verdicts, severity, "Verdicts of this client, outbound"),
        h("p", { class: "soft note" }, `Method `, h("code", null, bdi(client.method)), `, ${plural(client.connections, "connection", "connections")} arrived.`),
      ),
    );
  }

  // What a file says of the host

  const originOf = (place, file) => (place ? [place.line === null ? place.file : `${place.file}:${place.line}`, place.key].filter(Boolean).join(" ") : file.file);
  const scopeOf = (item) => (item.server_name === null ? item.locator : `${item.locator} as ${item.server_name}`);

  // Whether something was measured where this leg answers, and it says otherwise.
  function isContradicted(leg, setting, endpoints) {
    if (setting.gap) return false;
    return endpoints.some(
      (item) => leg.measured_scopes.includes(scopeOf(item)) && item.verdicts.some((verdict) => verdict.version === setting.version && verdict.disputed && verdict.state !== setting.state && verdict.state !== "unknown"),
    );
  }

  function settingRow(leg, setting, file, severity, endpoints) {
    return h(
      "tr",
      null,
      versionHead(setting.version),
      h("td", null, chip(setting.state, severity(setting.version), isContradicted(leg, setting, endpoints))),
      h(
        "td",
        null,
        bdi(setting.reason),
        h("div", { class: "evidence" }, h("span", { class: "where" }, h("bdi", { class: "place" }, originOf(setting.place, file)), ` · ${index.basis[setting.basis] || setting.basis}`, setting.gap && ` · ${setting.gap}: ${index.gaps[setting.gap] || ""}`)),
      ),
    );
  }

  function legBlock(leg, file, isOpen, severity, endpoints) {
    const list = (items) => items.map((item, place) => [place > 0 && ", ", bdi(item)]);
    const enabled = enabledOf(leg.settings);
    const listens = leg.listens.map(({ address, port }) => `${address === null ? "any address" : address}, ${port === null ? "port not said" : `port ${port}`}`);
    return h(
      "details",
      { class: "endpoint leg", open: isOpen },
      h(
        "summary",
        null,
        h("strong", null, bdi(leg.name)),
        h("span", { class: "mark" }, leg.direction),
        leg.is_permission && h("span", { class: "mark" }, "what programs may use"),
        leg.is_management && h("span", { class: "mark" }, "the device's administration: does not count"),
        h("span", { class: "soft" }, enabled ? `${leg.is_permission ? "allows" : "enables"} ${enabled}` : "enables no version for certain"),
        icon("chevron", "turn"),
      ),
      h(
        "div",
        { class: "endpoint-body" },
        h(
          "dl",
          { class: "pairs" },
          listens.length > 0 && pair("Listens on", list(listens)),
          leg.server_names.length > 0 && pair("Server names", list(leg.server_names)),
          leg.destinations.length > 0 && pair("Connects to", list(leg.destinations)),
          leg.measured_scopes.length > 0 && pair("Measured as", list(leg.measured_scopes)),
        ),
        h(
          "table",
          { class: "lines" },
          h("caption", { class: "sr" }, `What the file says of ${leg.name}`),
          h("thead", null, h("tr", null, h("th", { scope: "col", class: "v-col" }, "Version"), h("th", { scope: "col", class: "s-col" }, "State"), h("th", { scope: "col" }, "Why"))),
          h("tbody", null, leg.settings.map((setting) => settingRow(leg, setting, file, severity(leg), endpoints))),
        ),
        limitList(leg.limits),
      ),
    );
  }

  function lineNotes(file) {
    const counts = Object.entries(index.lines).map(([state, words]) => [state, words, file.lines[state] || 0]);
    const isOpen = (state) => !["supported", "irrelevant"].includes(state);
    return [
      counts.some(([, , count]) => count) && [
        h("h4", null, "Its lines"),
        h("ul", { class: "line-counts" }, counts.map(([state, words, count]) => h("li", { class: count > 0 && isOpen(state) && "open", title: words }, h("strong", null, count.toLocaleString("en")), ` ${state}`, h("span", { class: "sr" }, `: ${words}`)))),
      ],
      file.notes.length > 0 &&
        h(
          "details",
          { class: "evidence" },
          h("summary", null, plural(file.notes.length, "line to look at", "lines to look at")),
          h("ul", null, file.notes.map((note) => h("li", null, h("code", null, bdi(note.text)), ` ${note.state}: `, bdi(note.detail || index.lines[note.state] || ""), h("span", { class: "where" }, h("bdi", { class: "place" }, originOf(note.place, file)))))),
        ),
    ];
  }

  function declaredBlock(file, isOpen, severity, endpoints) {
    const facts = Object.entries(file.facts);
    const checks = file.checks || [];
    return h(
      "details",
      { class: "endpoint", open: isOpen },
      h(
        "summary",
        null,
        h("strong", null, bdi(file.file)),
        h("span", { class: "soft" }, bdi(file.product_version === null ? file.product : `${file.product} ${file.product_version}`)),
        h("span", { class: "soft" }, ["inbound", "outbound"].map((side) => [side, file.legs.filter((leg) => leg.direction === side).length]).filter(([, count]) => count).map(([side, count]) => `${count} ${side}`).join(", ")),
        icon("chevron", "turn"),
      ),
      h(
        "div",
        { class: "endpoint-body" },
        h(
          "dl",
          { class: "pairs" },
          pair("Product", bdi(file.product)),
          pair("Version", file.product_version === null ? h("span", { class: "soft" }, "not known") : bdi(file.product_version)),
          pair("Kind of file", h("code", null, bdi(file.importer))),
          pair("Given", readableTime(file.given_at)),
          file.collected_at && pair("True as of", readableTime(file.collected_at)),
          pair("SHA-256", h("code", null, file.sha256), " ", copyButton(file.sha256, "Copy")),
          file.includes.length > 0 && pair("Includes", file.includes.map((item, place) => [place > 0 && ", ", bdi(item.file)])),
          facts.map(([name, value]) => pair(name.replaceAll("_", " "), bdi(readableTime(value)))),
        ),
        file.gaps.length > 0 && [h("h4", null, "Not known of the whole file"), h("ul", { class: "evidence" }, file.gaps.map((gap) => h("li", null, gapLine(gap))))],
        checks.length > 0 && [h("h4", null, "What it answers"), checkTable(checks, `What ${file.file} answers`)],
        h("h4", null, "What it sets"),
        file.legs.length > 0 ? file.legs.map((leg) => legBlock(leg, file, file.legs.length <= 2, severity, endpoints)) : h("p", { class: "none" }, "Nothing that opens or accepts TLS connections."),
        file.left_out > 0 && h("p", { class: "soft" }, `and ${file.left_out.toLocaleString("en")} more, in the JSON report.`),
        lineNotes(file),
      ),
    );
  }

  // A proxy's paths

  const endpointOf = (path, endpoints) =>
    endpoints.find((item) => item.destination === path.destination && item.locator === `${path.via} -> ${path.destination}` && (path.is_listener || item.server_name === path.server_name));

  function certificateSides(path) {
    const through = path.certificates;
    const direct = path.direct_certificates;
    if (through.length === 0 && direct.length === 0) return null;
    const known = new Set(direct.map((item) => item.sha256));
    const isSame = through.length > 0 && through.every((item) => known.has(item.sha256));
    if (isSame) return [h("h4", null, "Certificate, the same through the proxy and without it"), through.map(certificateBlock)];
    const sides = [["Certificate through the proxy", through], ["Certificate without it", direct]].filter(([, items]) => items.length > 0);
    return [
      sides.length === 2 && h("p", { class: "note" }, h("span", { class: "trusted no" }, icon("cross"), "The certificates through the proxy and without it differ.")),
      h("div", { class: "sides" }, sides.map(([title, items]) => h("div", null, h("h4", null, title), items.map(certificateBlock)))),
    ];
  }

  function pathBlock(path, isOpen, endpoint, severity) {
    const own = path.gaps.filter((gap) => !gap.version);
    const isBad = !path.is_listener && ["re-encrypts", "blocked"].includes(path.kind);
    const whose = path.kind === "re-encrypts" ? "What the proxy accepts from its clients on this path" : "What is accepted through the proxy";
    return h(
      "details",
      { class: "endpoint", open: isOpen },
      h(
        "summary",
        null,
        wayMark(path.kind, isBad ? "warning" : ""),
        h("strong", null, path.is_listener ? ["to the listener ", bdi(path.destination)] : ["to ", bdi(path.destination)]),
        h("span", { class: "soft path-why" }, bdi(path.reason)),
        icon("chevron", "turn"),
      ),
      h(
        "div",
        { class: "endpoint-body" },
        h(
          "dl",
          { class: "pairs" },
          pair("Proxy", bdi(path.via), ` ${index.upgrades[path.upgrade] || path.upgrade}`),
          path.server_name && pair("Server name", bdi(path.server_name)),
          path.kind === "re-encrypts" && path.is_listener && pair("Mirrors its client", index.mirroring[path.mirroring] || path.mirroring),
        ),
        own.length > 0 && h("ul", { class: "evidence" }, own.map((gap) => h("li", null, gapLine(gap)))),
        path.proof.length > 0 && [h("h4", null, "Proof"), h("ul", { class: "limits" }, path.proof.map((text) => h("li", null, bdi(text))))],
        limitList(path.limits),
        certificateSides(path),
        path.verdicts.length > 0 && [h("h4", null, whose), verdictTable(path.verdicts, path.is_listener ? severity : () => "", whose)],
        endpoint && endpoint.handshakes.length > 0 && [h("h4", null, "Handshakes"), handshakeTable(endpoint.handshakes)],
        endpoint && h("p", { class: "soft note" }, `${plural(endpoint.connections, "connection", "connections")} opened for the versions question.`),
      ),
    );
  }

  function checkTable(checks, title = "What the host is") {
    // Without colour: a yes may be good or bad.
    const shapes = { yes: ["check", ""], no: ["cross", "soft"], unknown: ["question", "soft"] };
    return h(
      "table",
      { class: "lines" },
      h("caption", { class: "sr" }, title),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Check"), h("th", { scope: "col", class: "s-col" }, "Answer"), h("th", { scope: "col" }, "Seen"))),
      h(
        "tbody",
        null,
        checks.map((item) =>
          h(
            "tr",
            null,
            h("td", null, item.title, " ", item.weight && h("span", { class: "mark" }, `${item.weight} evidence`), " ", !item.verified && h("span", { class: "mark" }, "unverified")),
            h("td", null, h("span", { class: `trusted ${shapes[item.state][1]}` }, icon(shapes[item.state][0]), item.state)),
            h("td", null, h("div", { class: "long" }, bdi(item.detail))),
          ),
        ),
      ),
    );
  }

  function stepButton(row, step, words, shape) {
    const place = found.indexOf(row);
    const target = place < 0 ? undefined : found[place + step];
    const button = h("button", { type: "button", class: "quiet", disabled: target === undefined, "data-step": String(step) }, step < 0 && icon(shape), words, step > 0 && icon(shape));
    button.addEventListener("click", () => {
      view.host = anchorOf(target);
      writeHash(false);
      showHost();
      const again = $("panel").querySelector(`[data-step="${step}"]`);
      (again.disabled ? $("close") : again).focus();
    });
    return button;
  }

  function hostHead(row, name, reason, stopped) {
    const close = h("button", { type: "button", class: "quiet last", id: "close" }, icon("cross"), "Close");
    close.addEventListener("click", () => $("panel").close());
    return h(
      "div",
      { class: "d-head" },
      h("div", { class: "d-tools" }, stepButton(row, -1, "Previous", "back"), stepButton(row, 1, "Next", "chevron"), copyButton(name, "Copy name"), copyLinkButton(row), close),
      h("h2", { id: "panel-h", tabindex: "-1" }, nameOf(name)),
      h("p", { class: "d-answer" }, readyBadge(kinds[kindOf[row]].ready), reason && bdi(reason)),
      stopped && h("p", { class: "notice" }, icon("warn"), h("span", null, index.stopped[stopped] || stopped)),
    );
  }

  // What the table knows, and where the rest is.
  function briefContent(row) {
    const kind = kinds[kindOf[row]];
    const command = `entra-tls report ${index.run} --db FILE --json FILE`;
    return [
      hostHead(row, names[row], "", ""),
      h(
        "div",
        { class: "d-body" },
        h("p", { class: "notice" }, icon("info"), h("span", null, h("strong", null, "The details of this host are not in this file."), " It holds those of the hosts that need most attention. All evidence is in the JSON report: ", h("code", null, command), " ", copyButton(command, "Copy"))),
        section("Host", h("dl", { class: "pairs" }, pair("Role", index.roles[kind.role][1]), othersOf(row).length > 0 && pair("Addresses", othersOf(row).map((item, place) => [place > 0 && ", ", bdi(item)])), kind.tags.length > 0 && pair("Tags", kind.tags.map((tag, place) => [place > 0 && ", ", bdi(index.tags[tag])])))),
        kind.rules.length > 0 && section("What to change", h("ul", null, kind.rules.map((rule) => h("li", null, ruleLink(rule))))),
        section("Versions", briefVersions(kind)),
      ),
    ];
  }

  function briefVersions(kind) {
    const column = (title) => h("th", { scope: "col" }, title);
    const heads = kind.outbound ? [column("Inbound"), column("Outbound")] : column("State");
    return h(
      "table",
      { class: "lines" },
      h("caption", { class: "sr" }, "States by version"),
      h("thead", null, h("tr", null, h("th", { scope: "col", class: "v-col" }, "Version"), heads)),
      h("tbody", null, index.versions.map(([, title], place) => h("tr", null, h("th", { scope: "row" }, title), [kind, kind.outbound].filter(Boolean).map((side, number) => h("td", { "data-side": kind.outbound && ["Inbound", "Outbound"][number] }, kindChip(side, place)))))),
    );
  }

  // The finding's own block above the table has title, advice and sources.
  function ruleLink(rule) {
    const name = index.rules[rule];
    const block = document.querySelector(`details.finding[data-rule="${CSS.escape(name)}"]`);
    if (!block) return h("code", null, bdi(name));
    const link = h("a", { href: `#${encodeURIComponent(block.id)}` }, bdi(block.querySelector("h3").textContent));
    link.addEventListener("click", (event) => {
      event.preventDefault();
      $("panel").close();
      block.open = true;
      block.scrollIntoView();
      block.querySelector("summary").focus();
    });
    return link;
  }

  function hostContent(row) {
    const known = detailOf(row);
    if (known === null) return briefContent(row);
    const { host, findings } = known;
    const severities = index.severities.map(([value]) => value);
    const worstOf = (own) => severities.find((value) => own.some((finding) => finding.severity === value)) || "";
    // A finding says by its scopes which side it is about; one about the whole host has none.
    const declared = host.declared || [];
    const legs = declared.flatMap((file) => file.legs);
    const clients = new Set([...host.outbound, ...legs.filter((leg) => leg.direction === "outbound")].map((client) => client.scope));
    const isAbout = {
      inbound: (finding) => finding.scopes.length === 0 || !finding.scopes.every((scope) => clients.has(scope)),
      outbound: (finding) => finding.scopes.some((scope) => clients.has(scope)),
    };
    const severity = (version, direction) => worstOf(findings.filter((finding) => finding.versions.includes(version) && isAbout[direction](finding)));
    // What files answer stands with each file.
    const fromFiles = new Set(declared.flatMap((file) => file.checks || []).map((check) => JSON.stringify(check)));
    const checks = host.checks.filter((check) => !fromFiles.has(JSON.stringify(check)));
    const clientSeverity = (client) => (version) => worstOf(findings.filter((finding) => finding.versions.includes(version) && finding.scopes.includes(client.scope)));
    const pathEndpoints = host.paths.map((path) => endpointOf(path, host.endpoints));
    const endpoints = host.endpoints.filter((item) => !pathEndpoints.includes(item));
    const isFileOnly = declared.length > 0 && host.endpoints.length === 0 && host.paths.length === 0;
    const list = (items) => items.map((item, place) => [place > 0 && ", ", bdi(item)]);
    return [
      hostHead(row, host.name, host.readiness_reason, host.stopped),
      h(
        "div",
        { class: "d-body" },
        section(
          "Host",
          h(
            "dl",
            { class: "pairs" },
            pair("Role", index.roles[kinds[kindOf[row]].role][1]),
            pair("Asked for as", h("code", null, bdi(host.target))),
            host.addresses.length > 0 && pair("Addresses", list(host.addresses)),
            host.cname_chain.length > 0 && pair("CNAME chain", host.cname_chain.map((name, place) => [place > 0 && " → ", bdi(name)])),
            host.vendor && pair("Vendor", bdi(host.vendor)),
            host.farm && pair("Farm", bdi(host.farm)),
            host.cloud && pair("Cloud", host.cloud),
            host.tags.length > 0 && pair("Tags", list(host.tags)),
          ),
          host.gaps.length > 0 && [h("h4", null, "Not known of the whole host"), h("ul", { class: "evidence" }, host.gaps.map((gap) => h("li", null, gapLine(gap))))],
        ),
        findings.length > 0 && section("What to change", findings.map(findingBlock)),
        section("Versions", hostVerdicts(host.verdicts, severity)),
        declared.length > 0 &&
          section(
            "What its configuration says",
            isFileOnly && h("p", { class: "lead" }, "No endpoint was contacted; this is what its configuration says."),
            declared.map((file) => declaredBlock(file, declared.length === 1, clientSeverity, host.endpoints)),
          ),
        host.outbound.length > 0 && section("Outbound: its clients", host.outbound.map((client) => clientBlock(client, host.outbound.length === 1, clientSeverity(client)))),
        host.paths.length > 0 && section("Ways through the proxy", host.paths.map((path, place) => pathBlock(path, host.paths.length === 1, pathEndpoints[place], severity))),
        !isFileOnly && section("Endpoints", endpoints.length ? endpoints.map((item) => endpointBlock(item, endpoints.length === 1, severity)) : h("p", { class: "none" }, host.paths.length ? "No endpoint of its own was contacted." : "No endpoint was contacted.")),
        checks.length > 0 && section("What the host is", checkTable(checks)),
      ),
    ];
  }

  function copyLinkButton(row) {
    const button = h("button", { type: "button", class: "quiet copy" }, icon("link"), "Copy link");
    button.addEventListener("click", () => copy(`${location.href.split("#")[0]}#host=${encodeURIComponent(anchorOf(row))}`));
    return button;
  }

  function showHost() {
    const panel = $("panel");
    const row = placeOf(view.host);
    if (row === undefined) {
      if (panel.open) panel.close();
      return;
    }
    // The details stand after this script; a large file may still be loading.
    if (document.readyState === "loading") {
      document.addEventListener("DOMContentLoaded", showHost, { once: true });
      return;
    }
    panel.replaceChildren(...append(document.createElement("div"), hostContent(row)).childNodes);
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
    $("panel-h").focus();
  }

  function openHost(row) {
    view.host = anchorOf(row);
    writeHash(true);
    showHost();
  }

  // Networks: the first stand in the page, the others are made on demand

  const NETWORKS_MORE = 50;

  function networkBar(name, counts) {
    const all = counts.reduce((one, other) => one + other, 0);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "bar bar-readiness");
    svg.setAttribute("height", "20");
    svg.setAttribute("width", "100%");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${name} by readiness: ${index.readiness.map(([, word], place) => `${word.toLowerCase()}: ${counts[place]}`).join("; ")}`);
    let left = 0;
    index.readiness.forEach(([value], place) => {
      if (!counts[place]) return;
      const width = (100 * counts[place]) / all;
      for (const fill of value === "unknown" ? ["", "url(#hatch)"] : [""]) {
        const part = document.createElementNS(SVG, "rect");
        part.setAttribute("class", fill ? "bar-hatch" : `bar-${value}`);
        if (fill) part.setAttribute("fill", fill);
        for (const [key, size] of [["x", `${left}%`], ["y", "0"], ["width", `${width}%`], ["height", "20"]]) part.setAttribute(key, size);
        svg.append(part);
      }
      left += width;
    });
    return svg;
  }

  function showMoreNetworks() {
    const body = $("network-rows");
    const from = body.children.length;
    const more = index.nets.slice(from, from + NETWORKS_MORE);
    for (const [name, ...counts] of more) {
      const number = (count, word) => h("td", { class: "num", "data-word": word }, count ? count.toLocaleString("en") : h("span", { class: "soft" }, "0"));
      const all = counts.reduce((one, other) => one + other, 0);
      body.append(
        h(
          "tr",
          null,
          h("th", { scope: "row" }, h("a", { href: `#net=${encodeURIComponent(name)}` }, name)),
          h("td", { class: "bar-cell" }, networkBar(name, counts)),
          number(all, "hosts"),
          counts.map((count, place) => number(count, index.readiness[place][1].toLowerCase())),
        ),
      );
    }
    const shown = body.children.length;
    $("network-count").textContent = `${shown.toLocaleString("en")} of ${plural(index.nets.length, "network", "networks")} shown.`;
    $("more-networks").hidden = shown === index.nets.length;
    body.children[from].querySelector("a").focus();
  }

  // Copying

  async function copy(text) {
    let isCopied = false;
    try {
      await navigator.clipboard.writeText(text);
      isCopied = true;
    } catch {
      // Files opened from disk may not use the clipboard interface; this older way needs a selected field.
      const field = h("textarea", { class: "sr", readonly: true, "aria-hidden": "true" });
      field.value = text;
      const parent = $("panel").open ? $("panel") : document.body;
      const focused = document.activeElement;
      parent.append(field);
      field.select();
      isCopied = document.execCommand("copy");
      field.remove();
      if (focused) focused.focus();
    }
    say(isCopied ? "Copied." : "Copying is not allowed here.");
  }

  function say(text) {
    const place = $("panel").open ? $("panel") : document.body;
    if ($("said").parentElement !== place) place.append($("said"));
    $("said").textContent = "";
    requestAnimationFrame(() => {
      $("said").textContent = text;
    });
  }

  // Theme

  const darkSystem = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (darkSystem.matches ? "dark" : "light")) === "dark";
  const showTheme = () => {
    $("theme-word").textContent = isDark() ? "Light" : "Dark";
    $("theme").setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };

  // Wiring

  function listen() {
    $("theme").addEventListener("click", () => {
      const theme = isDark() ? "light" : "dark";
      document.documentElement.dataset.theme = theme;
      try {
        localStorage.setItem("entra-tls-theme", theme);
      } catch {
        // Then the choice lasts as long as the page.
      }
      showTheme();
    });
    darkSystem.addEventListener("change", showTheme);
    $("print").addEventListener("click", () => print());
    const panel = $("panel");
    panel.addEventListener("close", () => {
      document.body.append($("said"));
      if (!view.host) return;
      view.host = "";
      writeHash(false);
    });
    panel.addEventListener("click", (event) => {
      if (event.target === panel) panel.close();
    });
    for (const button of document.querySelectorAll("[data-copy-previous]")) {
      button.addEventListener("click", () => copy(button.previousElementSibling.textContent));
    }
    if ($("more-networks")) $("more-networks").addEventListener("click", showMoreNetworks);
    addEventListener("hashchange", () => follow(true));
    if (!total) return;
    for (const name of FILTERS) {
      const control = $(name);
      if (control) control.addEventListener(name === "q" ? "input" : "change", () => change({ [name]: control.value, page: "1" }));
    }
    $("reset").addEventListener("click", () => {
      change(Object.fromEntries([...FILTERS.map((name) => [name, ""]), ["page", "1"]]));
      $("q").focus();
    });
    $("size").addEventListener("change", () => change({ size: $("size").value, page: "1" }));
    $("previous").addEventListener("click", () => turnPage(-1));
    $("next").addEventListener("click", () => turnPage(1));
    for (const button of document.querySelectorAll("#matrix [data-sort]")) {
      button.addEventListener("click", () => {
        const isAgain = view.sort === button.dataset.sort;
        change({ sort: button.dataset.sort, dir: isAgain && view.dir === "asc" ? "desc" : "asc", page: "1" });
      });
    }
    $("rows").addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || !getSelection().isCollapsed) return;
      const line = event.target.closest("tr");
      if (!line) return;
      event.preventDefault();
      line.querySelector("a").focus();
      openHost(Number(line.dataset.place));
    });
    // Paper has no pages to turn and nothing to unfold.
    addEventListener("beforeprint", () => {
      const limit = Math.min(found.length, index.print_limit);
      showRows(0, limit);
      $("print-note").textContent = `${limit.toLocaleString("en")} of ${plural(total, "host", "hosts")} shown.`;
    });
    addEventListener("afterprint", showPage);
  }

  function change(values) {
    Object.assign(view, values);
    showTable();
    writeHash(false);
  }

  function turnPage(step) {
    change({ page: String(Number(view.page) + step) });
    $("hosts").scrollIntoView();
  }

  // The address has changed: by a link in the page, by the back button, or because the file was opened with one.
  function follow(mayScroll) {
    if (!location.hash.includes("=")) {
      if (view.host) {
        view.host = "";
        showHost();
      }
      return;
    }
    if (!hashParameters().has("host")) view.host = "";
    if (readHash()) {
      checkView();
      showTable();
      if (mayScroll && !view.host) $("hosts").scrollIntoView();
    }
    showHost();
  }

  listen();
  showTheme();
  showTable();
  follow(false);
})();
