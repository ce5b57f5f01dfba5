"use strict";
(() => {
  const map = document.getElementById("map");
  if (!map) return;
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const canvas = map.querySelector("canvas"), pen = canvas.getContext("2d");
  const says = map.querySelector("output"), ring = map.querySelector(".ring");
  const list = map.querySelector(".classes"), n = data.names.length, margin = 14;
  const plain = { classes: [{ name: "", colour: "#0072b2", outline: "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z" }], codes: Array(n).fill(0) };
  let colouring = data.colourings[0] || plain, chosen = -1, standing = new Set(), across, down;

  const x = i => margin + data.x[i] / data.grid * (across - 2 * margin);
  const y = i => down - margin - data.y[i] / data.grid * (down - 2 * margin);
  const stands = i => !standing.size || standing.has(colouring.codes[i]);

  function draw() {
    const fine = window.devicePixelRatio || 1;
    [across, down] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [across * fine, down * fine];
    const radius = Math.max(1.5, Math.min(4.5, 0.13 * across / Math.sqrt(n))) * fine;
    const outlines = colouring.classes.map(known => new Path2D(known.outline));
    [pen.lineWidth, pen.strokeStyle] = [0.25, "rgb(0 0 0 / 45%)"]; // for the palest colours
    for (const front of [false, true]) {
      pen.globalAlpha = front ? 0.8 : 0.08;
      for (let i = 0; i < n; i++) {
        if (stands(i) !== front) continue;
        pen.setTransform(radius, 0, 0, radius, x(i) * fine, y(i) * fine);
        pen.fillStyle = colouring.classes[colouring.codes[i]].colour;
        pen.fill(outlines[colouring.codes[i]]);
        pen.stroke(outlines[colouring.codes[i]]);
      }
    }
    show(chosen);
  }

  // the nearest of the wanted observations
  function nearest(left, top, reach, wanted = stands) {
    let best = -1, least = reach * reach;
    for (let i = 0; i < n; i++) {
      const far = (x(i) - left) ** 2 + (y(i) - top) ** 2;
      if (far < least && wanted(i)) [best, least] = [i, far];
    }
    return best;
  }

  function show(i) {
    chosen = i;
    ring.hidden = i < 0;
    const lines = i < 0 ? [] : [data.names[i], ...data.colourings.map(
      known => `${known.name}: ${known.classes[known.codes[i]].name}`)];
    if (says.innerText !== lines.join("\n")) says.replaceChildren(...lines.map(line => {
      const row = document.createElement("span");
      row.textContent = line;
      return row;
    }));
    if (i < 0) return;
    ring.style.transform = `translate(${x(i)}px, ${y(i)}px)`;
    says.style.left = `${Math.max(0, Math.min(x(i) + 12, across - says.offsetWidth))}px`;
    says.style.top = `${y(i) + (y(i) > down / 2 ? -says.offsetHeight - 12 : 12)}px`;
  }

  function choose(which) {
    colouring = data.colourings[which] || plain;
    standing.clear();
    list.replaceChildren(...(colouring === plain ? [] : colouring.classes).map((known, code) => {
      const button = document.createElement("button"), swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      swatch.setAttribute("viewBox", "-1.5 -1.5 3 3");
      swatch.setAttribute("aria-hidden", "true");
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", known.outline);
      path.setAttribute("fill", known.colour);
      swatch.append(path);
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.append(swatch, known.name);
      button.onclick = () => {
        if (!standing.delete(code)) standing.add(code);
        button.setAttribute("aria-pressed", String(standing.has(code)));
        draw();
      };
      return button;
    }));
    draw();
  }

  canvas.onpointermove = canvas.onpointerdown = event =>
    show(nearest(event.offsetX, event.offsetY, event.pointerType === "mouse" ? 20 : 40));
  canvas.onpointerleave = event => event.pointerType === "mouse" && show(-1);
  canvas.onkeydown = event => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape") show(-1);
    if (!way) return;
    event.preventDefault();
    if (chosen < 0) return show(nearest(across / 2, down / 2, Infinity));
    const [left, top] = [x(chosen), y(chosen)];
    const next = nearest(left, top, Infinity, i => {
      const ahead = (x(i) - left) * way[0] + (y(i) - top) * way[1];
      const aside = Math.abs((x(i) - left) * way[1]) + Math.abs((y(i) - top) * way[0]);
      return stands(i) && ahead > 0 && ahead >= aside;
    });
    if (next >= 0) show(next);
  };
  map.querySelector("fieldset").onchange = event => choose(Number(event.target.value));
  new ResizeObserver(draw).observe(canvas);
  choose(0);
})();
