// Paged tables: search, filters, order, and 25 rows at a time.
const { PAGE_ROWS, LONG_TEXT } = JSON.parse(document.getElementById("limits").textContent);
const MOST_CHOICES = 60;

// The kind of a value: that of its column, but plain text where the others are numbers or links.
const kindOf = (value, kind) => {
  if (["link", "marks", "spark"].includes(kind)) return Array.isArray(value) ? kind : "text";
  return kind === "number" && typeof value !== "number" ? "text" : kind;
};

const textOf = (value, columnKind) => {
  const kind = kindOf(value, columnKind);
  if (value === null || kind === "sound") return "";
  if (kind === "link" || kind === "spark") return value[kind === "link" ? 0 : 1];
  return kind === "marks" ? value.join(" ") : String(value);
};

const fill = (cell, value, column, colours) => {
  if (value === null || value === "") return;
  const kind = kindOf(value, column.kind);
  if (kind === "number") {
    const whole = Number.isInteger(value) && Math.abs(value) >= 10000 ? value.toLocaleString("en-US") : String(value);
    cell.textContent = column.decimals === null ? whole : value.toFixed(column.decimals);
  } else if (kind === "link") {
    cell.append(make("a", { href: value[1] }, value[0]));
  } else if (kind === "class") {
    const dot = make("i");
    dot.style.background = colours[value];
    cell.append(make("span", { class: "class" }, dot, value));
  } else if (kind === "marks") {
    value.forEach((name) => cell.append(make("span", { class: "mark" }, name), " "));
  } else if (kind === "sound") {
    const button = make("button", { type: "button", "aria-label": "Play the recording" }, "▶");
    button.addEventListener("click", () => {
      const player = make("audio", { controls: "", src: value });
      button.replaceWith(player);
      player.play().catch(() => {});  // a recording that is not there: the player shows it
      player.focus();
    });
    cell.append(button);
  } else if (kind === "spark") {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const use = document.createElementNS(space, "use");
    svg.setAttribute("class", "spark");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", value[1]);
    use.setAttribute("href", `#spark-${value[0]}`);
    const title = document.createElementNS(space, "title");  // shown when it is pointed at
    title.textContent = value[1];
    svg.append(title, use);
    cell.append(svg);
  } else {
    cell.textContent = String(value);
    if (cell.textContent.length > LONG_TEXT) cell.classList.add("long");
  }
};

const order = new Intl.Collator(undefined, { numeric: true });
const compare = (a, b) => {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return order.compare(String(a), String(b));
};

// The columns that share a cell, from left to right.
const stacksOf = (columns) => columns.reduce((found, column, j) => {
  if (column.below && found.length) found.at(-1).push(j); else found.push([j]);
  return found;
}, []);

const classesOf = (column) => [column.numeric && "n", column.secondary && "secondary"].filter(Boolean).join(" ");

// A cell of a row: the value of a column, and below it those of the columns that share the cell.
const cellOf = (row, stack, columns, colours) => {
  const head = columns[stack[0]];
  const scope = stack[0] === 0 ? { scope: "row" } : {};
  const cell = make(scope.scope ? "th" : "td", { ...scope, class: classesOf(head), "data-label": head.name });
  fill(cell, row[stack[0]], head, colours);
  for (const j of stack.slice(1)) {
    const below = make("div", { class: "below", "data-label": columns[j].name });
    fill(below, row[j], columns[j], colours);
    if (below.hasChildNodes()) cell.append(below);
  }
  return cell;
};

// What narrows the rows by one column, and `use`, which is called with a test of a row's number, or with null.
const rangeOf = (column, values, use) => {
  const end = (name) => make("input", {
    type: "number", step: "any", placeholder: name, "aria-label": `${column.name} ${name}`,
  });
  const [low, high] = [end("from"), end("to")];
  for (const input of [low, high]) {
    input.addEventListener("input", () => {
      const from = low.value === "" ? -Infinity : Number(low.value);
      const to = high.value === "" ? Infinity : Number(high.value);
      const test = (i) => typeof values[i] === "number" && values[i] >= from && values[i] <= to;
      use(low.value === "" && high.value === "" ? null : test);
    });
  }
  return make("div", { class: "range", role: "group", "aria-label": column.name },
    make("span", {}, column.name), low, high);
};

const typedOf = (column, values, choicesOf, use, name) => {
  const list = make("datalist", { id: name }, ...values.map((value) => make("option", { value })));
  const input = make("input", { type: "search", list: name });
  input.addEventListener("input", () => {
    const typed = input.value.trim().toLowerCase();
    use(typed ? (i) => choicesOf(i).some((value) => value.toLowerCase().includes(typed)) : null);
  });
  return make("label", {}, column.name, input, list);
};

const choiceOf = (column, values, choicesOf, use) => {
  const options = values.map((value) => make("option", { value }, value));
  const choice = make("select", {}, make("option", { value: "" }, "all"), ...options);
  choice.addEventListener("change", () => use(choice.value ? (i) => choicesOf(i).includes(choice.value) : null));
  return make("label", {}, column.name, choice);
};

// A value as a cell of a CSV file that no spreadsheet runs as a formula.
const csvOf = (value, kind) => {
  const text = kind === "marks" && Array.isArray(value) ? value.join("; ") : textOf(value, kind);
  const runs = typeof value !== "number" && /^'*[=+@\t\r-]/.test(text) && !/^[-+]?(\d+\.?\d*|\.\d+)$/.test(text);
  const safe = runs ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

const saveFile = (name, text) => {
  const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
};

const usePagedTable = (block) => {
  const table = block.querySelector("table.paged");
  const { columns, rows, colours } = JSON.parse(block.querySelector("script.rows").textContent);
  const texts = rows.map((row) => row.map((value, i) => textOf(value, columns[i].kind)));
  const choicesOf = (i, j) => (columns[j].kind === "marks" ? rows[i][j] ?? [] : [texts[i][j]]);
  const searched = texts.map((row) => row.join("\u0000").toLowerCase());
  const stacks = stacksOf(columns);
  const state = { words: "", filters: new Map(), sort: null, descending: false, page: 0 };
  const controls = block.querySelector(".controls");
  const pager = block.querySelector(".pager");
  let shown = rows.map((_, i) => i);

  const count = make("span");
  const previous = make("button", { type: "button" }, "Previous");
  const next = make("button", { type: "button" }, "Next");
  const csv = make("button", { type: "button", title: "These rows, on all pages, as a file" }, "CSV");
  pager.replaceChildren(count, ...(rows.length > PAGE_ROWS ? [previous, next] : []), csv);

  const draw = () => {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE_ROWS));
    state.page = Math.min(state.page, pages - 1);
    const from = state.page * PAGE_ROWS;
    const body = make("tbody");
    for (const i of shown.slice(from, from + PAGE_ROWS)) {
      body.append(make("tr", {}, ...stacks.map((stack) => cellOf(rows[i], stack, columns, colours))));
    }
    table.tBodies[0].replaceWith(body);
    const to = Math.min(from + PAGE_ROWS, shown.length);
    const total = shown.length === rows.length ? `${rows.length} rows` : `${shown.length} rows, out of ${rows.length}`;
    count.textContent = shown.length ? `${from + 1} to ${to} of ${total}` : `None of ${rows.length} rows`;
    previous.disabled = state.page === 0;
    next.disabled = state.page >= pages - 1;
  };

  const select = () => {
    const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
    shown = rows.map((_, i) => i).filter((i) => words.every((word) => searched[i].includes(word))
      && [...state.filters.values()].every((test) => test(i)));
    if (state.sort !== null) {
      const j = state.sort;
      const key = (i) => (typeof rows[i][j] === "number" ? rows[i][j] : texts[i][j]);
      const empty = (i) => rows[i][j] === null || rows[i][j] === "";
      shown.sort((a, b) => empty(a) - empty(b) || (state.descending ? -1 : 1) * compare(key(a), key(b)) || a - b);
    }
    state.page = 0;
    draw();
  };

  const search = make("input", { type: "search" });
  search.addEventListener("input", () => { state.words = search.value; select(); });
  controls.append(make("label", {}, "Search", search));
  columns.forEach((column, j) => {
    if (!column.filter) return;
    const use = (test) => {
      if (test) state.filters.set(j, test); else state.filters.delete(j);
      select();
    };
    const choices = (i) => choicesOf(i, j);
    const values = [...new Set(rows.flatMap((_, i) => choices(i)))].filter(Boolean).sort(compare);
    if (values.length < (column.kind === "marks" ? 1 : 2)) return;
    if (column.kind === "number") controls.append(rangeOf(column, rows.map((row) => row[j]), use));
    else if (values.length > MOST_CHOICES) controls.append(typedOf(column, values, choices, use, `${table.id}-${j}`));
    else controls.append(choiceOf(column, values, choices, use));
  });
  controls.hidden = rows.length < 2;

  const headers = [...table.tHead.rows[0].cells];
  const sortButton = (j, header) => {
    const button = make("button", { type: "button" }, columns[j].name);
    if (columns[j].help) button.title = columns[j].help;
    button.addEventListener("click", () => {
      state.descending = state.sort === j ? !state.descending : columns[j].numeric;
      state.sort = j;
      const order = state.descending ? "descending" : "ascending";
      for (const other of headers.filter((one) => one.ariaSort)) other.ariaSort = other === header ? order : "none";
      for (const other of table.tHead.querySelectorAll("button")) delete other.dataset.order;
      button.dataset.order = order;
      select();
    });
    return button;
  };
  stacks.forEach((stack, number) => {
    const header = headers[number];
    const fixed = (j) => ["sound", "spark"].includes(columns[j].kind);
    const names = stack.map((j) => (fixed(j) ? columns[j].name : sortButton(j, header)));
    header.replaceChildren(...names.map((name, k) => (k ? make("div", { class: "below" }, name) : name)));
    header.removeAttribute("title");
    if (header.querySelector("button")) header.ariaSort = "none";
  });
  csv.addEventListener("click", () => {
    const kept = columns.map((_, j) => j).filter((j) => columns[j].kind !== "sound");
    const lines = shown.map((i) => kept.map((j) => csvOf(rows[i][j], columns[j].kind)));
    const written = [kept.map((j) => csvOf(columns[j].name, "text")), ...lines];
    saveFile(`${table.id.replace("table-", "")}.csv`, written.map((line) => `${line.join(",")}\r\n`).join(""));
  });
  previous.addEventListener("click", () => { state.page -= 1; draw(); });
  next.addEventListener("click", () => { state.page += 1; draw(); });
  draw();
};
for (const block of document.querySelectorAll(".block.paged")) usePagedTable(block);
