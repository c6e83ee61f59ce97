"use strict";
// Works on what the page holds; every text goes in as text, never as HTML.
(() => {
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const { PAGE_ROWS, LONG_TEXT } = JSON.parse(document.getElementById("limits").textContent);
  const MOST_CHOICES = 60;

  const theme = document.querySelector("button.theme");
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const nameTheme = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", `${theme.textContent} theme`);
  };
  theme.hidden = false;
  nameTheme();
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
  });

  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.for);
      try {
        await navigator.clipboard.writeText(source.textContent);
      } catch {  // a page from a file may not use the clipboard: select the text and copy the selection
        getSelection().selectAllChildren(source);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  // The Tab key stops only at charts and tables that scroll.
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0; else target.removeAttribute("tabindex");
    }
  });
  for (const box of document.querySelectorAll(".scroll")) sizes.observe(box);

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
      cell.textContent = column.decimals === null ? String(value) : value.toFixed(column.decimals);
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
      svg.append(use);
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

  const usePagedTable = (block) => {
    const table = block.querySelector("table.paged");
    const { columns, rows, colours } = JSON.parse(block.querySelector("script.rows").textContent);
    const texts = rows.map((row) => row.map((value, i) => textOf(value, columns[i].kind)));
    const choicesOf = (i, j) => (columns[j].kind === "marks" ? rows[i][j] ?? [] : [texts[i][j]]);
    const searched = texts.map((row) => row.join("\u0000").toLowerCase());
    const state = { words: "", filters: new Map(), sort: null, descending: false, page: 0 };
    const controls = block.querySelector(".controls");
    const pager = block.querySelector(".pager");
    let shown = rows.map((_, i) => i);

    const count = make("span");
    const previous = make("button", { type: "button" }, "Previous");
    const next = make("button", { type: "button" }, "Next");
    pager.replaceChildren(count, ...(rows.length > PAGE_ROWS ? [previous, next] : []));

    const draw = () => {
      const pages = Math.max(1, Math.ceil(shown.length / PAGE_ROWS));
      state.page = Math.min(state.page, pages - 1);
      const from = state.page * PAGE_ROWS;
      const body = make("tbody");
      for (const i of shown.slice(from, from + PAGE_ROWS)) {
        const row = make("tr");
        rows[i].forEach((value, j) => {
          const cell = j === 0 ? make("th", { scope: "row" }) : make("td");
          if (columns[j].numeric) cell.classList.add("n");
          fill(cell, value, columns[j], colours);
          row.append(cell);
        });
        body.append(row);
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
        && [...state.filters].every(([j, value]) => choicesOf(i, j).includes(value)));
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
      const values = [...new Set(rows.flatMap((_, i) => choicesOf(i, j)))].filter(Boolean).sort(compare);
      if (values.length < (column.kind === "marks" ? 1 : 2) || values.length > MOST_CHOICES) return;
      const options = values.map((value) => make("option", { value }, value));
      const choice = make("select", {}, make("option", { value: "" }, "all"), ...options);
      choice.addEventListener("change", () => {
        if (choice.value) state.filters.set(j, choice.value); else state.filters.delete(j);
        select();
      });
      controls.append(make("label", {}, column.name, choice));
    });
    controls.hidden = rows.length < 2;

    [...table.tHead.rows[0].cells].forEach((header, j) => {
      if (columns[j].kind === "sound" || columns[j].kind === "spark") return;
      const button = make("button", { type: "button" }, columns[j].name);
      if (columns[j].help) button.title = columns[j].help;
      header.replaceChildren(button);
      header.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        state.descending = state.sort === j ? !state.descending : columns[j].numeric;
        state.sort = j;
        for (const other of table.tHead.rows[0].cells) {
          if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        }
        header.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
        select();
      });
    });
    previous.addEventListener("click", () => { state.page -= 1; draw(); });
    next.addEventListener("click", () => { state.page += 1; draw(); });
    draw();
  };
  for (const block of document.querySelectorAll(".block.paged")) usePagedTable(block);
})();
