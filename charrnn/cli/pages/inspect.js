// N: characters of the text   S: values of a unit at each character   K: predicted characters
const $ = id => document.getElementById(id)
const data = JSON.parse($("data").textContent)
const { units, signals, concepts, finds } = data

// The array of a part of the page: zlib, then base64.
async function unpack(id, Kind = Uint8Array) {
  const text = atob($(id).textContent), packed = new Uint8Array(text.length)
  for (let index = 0; index < text.length; index++) packed[index] = text.charCodeAt(index)  // faster than Uint8Array.from
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))
  return new Kind(await new Response(stream).arrayBuffer())
}

const cells = [...new TextDecoder().decode(await unpack("shown"))]
const ids = await unpack("ids", globalThis[data.idArray])
const likeliest = await unpack("likeliest", globalThis[data.idArray])
const surprise = await unpack("surprise", Uint16Array)
const N = ids.length, S = signals.length, K = data.likeliest, MIDDLE = data.middle
const positions = data.bytes ? await unpack("positions", Uint32Array) : null
const textPosition = cell => positions ? positions[cell] : cell

const view = { unit: -1, signal: 0, find: -1, marks: "", cursor: 0 }
let wanted = view  // the unit, signal and find that are shown as soon as they are unpacked
let series = null  // (S, N) bytes of the unit
let marks = null  // (N,) bytes of the underlined concept
const cache = new Map()

async function cached(id) {
  if (!cache.has(id)) {
    if (cache.size > 60) cache.clear()
    cache.set(id, unpack(id))
  }
  return cache.get(id)
}

function element(tag, className, ...children) {
  const result = document.createElement(tag)
  if (className) result.className = className
  result.append(...children)
  return result
}

// ---- the text: plain until it comes near the screen, then an element for each character ----

const looks = Array.from({ length: 2 * MIDDLE + 1 }, (_, byte) => {
  const share = (byte - MIDDLE) / MIDDLE
  return share ? `background:rgb(var(--${share < 0 ? "red" : "blue"}) / ${Math.abs(share).toFixed(2)});` : ""
})
const blocks = []
const lines = [0]  // the first cell of each line
const blockOf = cell => blocks.findLast(block => block.start <= cell)
const lineOf = cell => lines.findLastIndex(start => start <= cell)
const lastOf = line => (lines[line + 1] ?? cells.length) - 1
const observer = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) (isIntersecting ? fill : empty)(target)
}, { rootMargin: "800px" })

function layOut() {
  cells.forEach((character, cell) => { if (character === "\n" && cell + 1 < cells.length) lines.push(cell + 1) })
  const [shortest, longest] = [500, 4000]
  for (let start = 0, end = 0; start < cells.length; start = end) {
    do end++
    while (end < cells.length && end - start < longest && !(cells[end - 1] === "\n" && end - start >= shortest))
    const block = element("p", "", cells.slice(start, end).join(""))
    Object.assign(block, { start, end, filled: false })
    blocks.push(block)
    observer.observe(block)
  }
  $("text").append(...blocks)
}

function fill(block) {
  if (block.filled) return
  const children = cells.slice(block.start, block.end).map((character, index) => {
    const cell = element("i", character === "\n" ? "n" : "", character)
    cell.cell = block.start + index
    return cell
  })
  block.replaceChildren(...children)
  block.filled = true
  paint(block)
}

function empty(block) {
  if (!block.filled) return
  block.textContent = cells.slice(block.start, block.end).join("")
  block.filled = false
}

function paint(block) {
  if (!series) return
  const offset = view.signal * N
  for (const cell of block.children) {
    const position = textPosition(cell.cell), byte = series[offset + position]
    const on = marks ? marks[position] / 255 : 0
    cell.style.cssText = looks[byte] + (on ? `box-shadow:inset 0 -.16em rgb(var(--mark) / ${on.toFixed(2)})` : "")
    cell.classList.toggle("strong", Math.abs(byte - MIDDLE) > 0.6 * MIDDLE)
    cell.classList.toggle("cursor", cell.cell === view.cursor)
  }
}

function elementOf(cell) {
  const block = blockOf(cell)
  fill(block)
  return block.children[cell - block.start]
}

// ---- the character that is pointed at, or that the cursor is on ----

const sign = character => ({ " ": "␣", "\n": "⏎", "\t": "⇥" })[character] ?? character
const minus = text => text.replace("-", "−")
const valueOf = (signal, position) => (series[signal * N + position] - MIDDLE) / MIDDLE * units[view.unit].scales[signal]

function percent(nats) {
  const share = 100 * Math.exp(-nats)
  return share < 1e-4 ? "< 0.0001 %" : `${Number(share.toPrecision(2))} %`
}

function bar(from, to, colour) {
  const filled = element("span")
  Object.assign(filled.style, { left: `${100 * from}%`, width: `${100 * (to - from)}%`, background: colour })
  return element("span", "bar", filled)
}

function row(label, share, text, className = "") {
  return element("div", `row ${className}`, label, share, element("span", "", text))
}

function signalRow(signal, index, position) {
  const value = valueOf(index, position), share = value / units[view.unit].scales[index]
  const colour = `rgb(var(--${value < 0 ? "red" : "blue"}))`
  const drawn = signal.low < 0 ? bar(Math.min(.5, .5 + share / 2), Math.max(.5, .5 + share / 2), colour) : bar(0, share, colour)
  return row(element("span", "", signal.label), drawn, minus(value.toFixed(2)), index === view.signal ? "now" : "")
}

function predictionRows(position) {
  const next = position + 1 < N ? ids[position + 1] : -1
  const predictions = Array.from({ length: K }, (_, rank) =>
    [likeliest[position * K + rank], surprise[position * (K + 1) + rank] / data.natsSteps])
  const isAmong = predictions.some(([id]) => id === next)
  if (next >= 0 && !isAmong) predictions.push([next, surprise[position * (K + 1) + K] / data.natsSteps])
  const rows = predictions.map(([id, nats]) => {
    const label = element("span", "sign", data.symbols[id])
    if (id === next) label.append(" ", element("small", "", "came next"))
    return row(label, bar(0, Math.exp(-nats), "var(--soft)"), percent(nats), id === next ? "came" : "")
  })
  // A row of space, so that the panel keeps its height.
  return isAmong || next < 0 ? [...rows, row("\xa0", "", "")] : rows
}

function describe(cell) {
  if (!series || !cells.length) return
  const position = textPosition(cell), line = lineOf(cell)
  const before = position ? surprise[position * (K + 1) - 1] / data.natsSteps : null
  const head = element("div", "", `line ${line + 1}, column ${cell - lines[line] + 1}`,
    element("div", "small", before === null ? "the first character" : `its probability was ${percent(before)}`))
  const figures = element("div", "", element("h3", "", `unit ${units[view.unit].unit}`),
    ...signals.map((signal, index) => signalRow(signal, index, position)))
  if (marks) {
    const { label, highest, number } = concepts[view.marks]
    const value = marks[position] / 255 * highest
    const shown = !number ? (value ? "yes" : "no") : highest > 1 ? Math.round(value) : value.toFixed(2)
    figures.append(element("div", "concept", element("span", "", label), element("span", "", shown)))
  }
  $("details").replaceChildren(element("h2", "", element("b", "", sign(cells[cell])), head), figures,
    element("div", "next", element("h3", "", "likeliest next"), ...predictionRows(position)))
}

function move(cell) {
  document.querySelector("i.cursor")?.classList.remove("cursor")
  view.cursor = Math.max(0, Math.min(cells.length - 1, cell))
  const moved = elementOf(view.cursor)
  moved.classList.add("cursor")
  moved.scrollIntoView({ block: "nearest" })
  describe(view.cursor)
}

// The cursor, or the first character on the screen where the reader has scrolled away from the cursor.
function visibleCursor() {
  const top = $("controls").getBoundingClientRect().bottom
  const below = element => element.getBoundingClientRect().bottom > top
  const rectangle = elementOf(view.cursor).getBoundingClientRect()
  if (rectangle.bottom > top && rectangle.top < innerHeight) return view.cursor
  const block = blocks.find(below) ?? blocks.at(-1)
  fill(block)
  return ([...block.children].find(below) ?? block.firstChild).cell
}

// Moves the cursor; where the reader has scrolled away from it, only brings it to the screen.
function moveFrom(target) {
  const cursor = visibleCursor()
  move(cursor === view.cursor ? target(cursor) : cursor)
}

function linesAway(cursor, count) {
  const line = lineOf(cursor), target = Math.max(0, Math.min(lines.length - 1, line + count))
  return Math.min(lines[target] + cursor - lines[line], lastOf(target))
}

// ---- the choice of a unit, of one of its values, and of a concept to underline ----

async function choose(unit, signal = wanted.signal, find = -1) {
  const choice = wanted = { unit, signal, find }
  const values = await cached(`unit-${unit}`)
  if (wanted !== choice) return
  const changed = view.unit < 0 || units[unit].layer !== units[view.unit].layer
  Object.assign(view, choice)
  series = values
  const { layer, unit: number, scales } = units[unit], { low, label } = signals[signal]
  $("layer").value = layer
  $("unit").value = number
  $("signal").value = signal
  $("message").value = ""
  $("low").textContent = low ? minus(`-${Number(scales[signal].toPrecision(3))}`) : "0"
  $("high").textContent = `${Number(scales[signal].toPrecision(3))}`
  $("scale").style.background = `linear-gradient(to right${low ? ", rgb(var(--red))" : ""}, transparent, rgb(var(--blue)))`
  $("legend").setAttribute("aria-label", `${label}: ${low ? "red below 0, blue above 0" : "white at 0, blue at 1"}`)
  if (changed) drawGates()
  for (const dot of document.querySelectorAll(".plots circle")) {
    dot.classList.toggle("now", Number(dot.dataset.unit) === unit)
    if (Number(dot.dataset.unit) === unit) dot.parentNode.append(dot)  // above the others
  }
  $("finds").querySelectorAll("button").forEach((button, index) => button.setAttribute("aria-current", index === find))
  repaint()
}

async function underline(concept) {
  view.marks = concept
  $("marks").value = concept
  const values = concept === "" ? null : await cached(`concept-${concept}`)
  if (view.marks !== concept) return
  marks = values
  repaint()
}

function repaint() {
  for (const block of blocks) if (block.filled) paint(block)
  describe(view.cursor)
}

async function chooseFind(index) {
  const { unit, signal, concept } = finds[index]
  await Promise.all([choose(unit, signal, index), underline(String(concept))])
  const list = $("finds").querySelector("ol"), item = list.children[index]
  list.scrollTop = Math.min(Math.max(list.scrollTop, item.offsetTop + item.offsetHeight - list.clientHeight), item.offsetTop)
}

function chooseNumber() {
  const layer = Number($("layer").value), number = $("unit").value.trim()
  const unit = units.findIndex(unit => unit.layer === layer && String(unit.unit) === number)
  if (unit >= 0) return choose(unit)
  const known = units.filter(unit => unit.layer === layer).map(unit => unit.unit)
  const listed = known.length === data.hidden ? `0 to ${data.hidden - 1}` : known.join(", ")
  $("message").value = `There is no unit ${number} of layer ${layer} on this page. It has the units ${listed}.`
}

const step = count => choose((wanted.unit + count + units.length) % units.length)

// ---- the controls ----

function option(value, text) {
  const result = element("option", "", text)
  result.value = value
  return result
}

function listen() {
  const main = $("text")
  const pointed = event => event.target.cell ?? null
  main.addEventListener("mouseover", event => { if (pointed(event) !== null) describe(pointed(event)) })
  main.addEventListener("mouseleave", () => describe(view.cursor))
  main.addEventListener("click", event => { if (pointed(event) !== null) move(pointed(event)) })
  $("controls").addEventListener("submit", event => event.preventDefault())
  $("unit").addEventListener("change", chooseNumber)
  $("layer").addEventListener("change", () => choose(units.findIndex(unit => String(unit.layer) === $("layer").value)))
  $("signal").addEventListener("change", () => choose(view.unit, Number($("signal").value)))
  $("marks").addEventListener("change", () => underline($("marks").value))
  $("previous").addEventListener("click", () => step(-1))
  $("next").addEventListener("click", () => step(1))
  $("gates").addEventListener("click", chooseDot)
  document.addEventListener("keydown", pressed)
}

let underlined = ""
function toggleMarks() {
  if (view.marks !== "") underlined = view.marks
  return underline(view.marks === "" ? underlined : "")
}

const keys = {
  ArrowLeft: () => moveFrom(cursor => cursor - 1), ArrowRight: () => moveFrom(cursor => cursor + 1),
  ArrowUp: () => moveFrom(cursor => linesAway(cursor, -1)), ArrowDown: () => moveFrom(cursor => linesAway(cursor, 1)),
  Home: () => move(lines[lineOf(view.cursor)]), End: () => move(lastOf(lineOf(view.cursor))),
  n: () => step(1), "]": () => step(1), p: () => step(-1), "[": () => step(-1),
  s: () => choose(wanted.unit, (wanted.signal + 1) % S),
  f: () => { if (finds.length) chooseFind((wanted.find + 1) % finds.length) },
  m: toggleMarks,
  "/": () => { $("unit").focus(); $("unit").select() },
}

function pressed(event) {
  if (event.target.matches("select, input")) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.id === "unit")) {
      event.target.blur()
      $("text").focus({ preventScroll: true })
    }
    return
  }
  if (!cells.length || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return
  event.preventDefault()
  keys[event.key]()
}

function addControls() {
  const layers = [...new Set(units.map(unit => unit.layer))]
  $("layer").append(...layers.map(layer => option(layer, layer)))
  $("layer-label").hidden = layers.length < 2
  $("signal").append(...signals.map((signal, index) => option(index, signal.label)))
  $("marks").append(...concepts.map((concept, index) => option(index, concept.label)))
  $("marks-label").hidden = !concepts.length
  $("finds").hidden = !finds.length
  $("finds").querySelector("ol").append(...finds.map((find, index) => {
    const { layer, unit } = units[find.unit]
    const where = `${data.layers > 1 ? `layer ${layer}, ` : ""}unit ${unit}, ${signals[find.signal].label}`
    const scores = find.scores.map(([name, score]) => `${name} ${minus(score)}`)
    const button = element("button", find.chance ? "chance" : "", element("span", "", concepts[find.concept].label), element("span", "", scores.shift() ?? ""),
      element("small", "", where), element("small", "", scores.join(" · ")))
    button.type = "button"
    button.addEventListener("click", () => chooseFind(index))
    return element("li", "", button)
  }))
  if (matchMedia("(max-width: 60rem)").matches)
    for (const part of document.querySelectorAll("aside > details")) part.open = false
}

addControls()
listen()
layOut()
for (const [id, plot] of Object.entries(data.plots)) drawCurves(id, plot)
await (data.start.find >= 0 ? chooseFind(data.start.find) : choose(data.start.unit, data.start.signal))
document.body.dataset.ready = "yes"
