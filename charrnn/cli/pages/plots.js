// The plots: gates of the layer, curves of the training. The names that they share are in inspect.js.

function drawGates() {
  const { layer } = units[view.unit]
  const gates = signals.flatMap(({ gate, label }, signal) => gate === null ? [] : [{ gate, label, signal }])
  $("gates").hidden = !gates.length
  $("gates").querySelector(".plots").replaceChildren(...gates.map(({ gate, label, signal }) => {
    const figure = element("figure")
    const dots = units.flatMap((unit, index) => {
      if (unit.layer !== layer) return []
      const [left, right] = unit.saturated[gate]
      return [`<circle r="2.4" cx="${100 * right}" cy="${100 - 100 * left}" data-unit="${index}" data-signal="${signal}"/>`]
    })
    figure.innerHTML = `<svg viewBox="-3 -3 106 106" role="img"><rect width="100" height="100"/>${dots.join("")}</svg>`
    figure.querySelector("svg").setAttribute("aria-label", `${label}: a dot for each unit`)
    figure.append(element("figcaption", "", label))
    return figure
  }))
}

// The dot nearest to a click, within 12 pixels.
function chooseDot(event) {
  const svg = event.target.closest("svg")
  if (!svg) return
  let nearest = null, least = 12
  for (const dot of svg.querySelectorAll("circle")) {
    const { x, y, width } = dot.getBoundingClientRect()
    const distance = Math.hypot(x + width / 2 - event.clientX, y + width / 2 - event.clientY)
    if (distance < least) [nearest, least] = [dot, distance]
  }
  if (nearest) choose(Number(nearest.dataset.unit), Number(nearest.dataset.signal))
}

const colours = ["#3584e4", "#e66100", "#2ec27e", "#c061cb", "#c88800", "#e01b24", "#00a0a8", "#865e3c"]

function drawCurves(id, { curves, x, y, log }) {
  const points = curves.map(curve => curve.points.filter(([, value]) => !log || value > 0)
    .map(([at, value]) => [at, log ? Math.log10(value) : value]))
  const all = points.flat()
  if (!all.length) return
  $(id).hidden = false
  const extent = axis => [Math.min(...all.map(point => point[axis])), Math.max(...all.map(point => point[axis]))]
  const [[left, right], [low, high]] = [extent(0), extent(1)]
  const [width, height, margin] = [330, 170, 42]
  const across = at => margin + (at - left) / (right - left || 1) * width
  const up = value => height - (value - low) / (high - low || 1) * height
  const number = value => log ? `1e${Math.round(value)}` : String(Number(value.toPrecision(3)))
  const every = Math.ceil((high - low) / 4)
  const ticks = log && every ? Array.from({ length: Math.floor((Math.floor(high) - Math.ceil(low)) / every) + 1 },
    (_, index) => Math.ceil(low) + index * every) : [0, 1, 2, 3].map(part => low + part / 3 * (high - low))
  const colour = index => colours[[...new Set(curves.map(curve => curve.group))].indexOf(curves[index].group) % colours.length]
  const style = index => `stroke="${colour(index)}"${curves[index].dashed ? ' stroke-dasharray="5 3"' : ""}`
  const grid = ticks.map(tick => `<path class="grid" d="M${margin} ${up(tick)}h${width}"/>
    <text x="${margin - 5}" y="${up(tick) + 3}" text-anchor="end">${number(tick)}</text>`)
  const paths = points.map((curve, index) =>
    `<path ${style(index)} d="M${curve.map(([at, value]) => `${across(at).toFixed(1)} ${up(value).toFixed(1)}`).join("L")}"/>`)
  const end = value => Number(value.toPrecision(3))
  $(id).querySelector(".plot").innerHTML = `<svg viewBox="0 -8 ${margin + width + 4} ${height + 26}" role="img">
    ${grid.join("")}${paths.join("")}<text x="${margin}" y="${height + 14}">${end(left)}</text>
    <text x="${margin + width / 2}" y="${height + 14}" text-anchor="middle">${x}</text>
    <text x="${margin + width}" y="${height + 14}" text-anchor="end">${end(right)}</text></svg>`
  $(id).querySelector("svg").setAttribute("aria-label", `${y}, over ${x}`)
  $(id).querySelector(".key").replaceChildren(element("li", "", `${y}:`), ...curves.map(({ label }, index) => {
    const item = element("li")
    item.innerHTML = `<svg viewBox="0 0 26 8"><path ${style(index)} d="M0 4h26"/></svg>`
    item.append(label)
    return item
  }))
}
