// SPDX-License-Identifier: MIT
// What is wrong with the report as the browser shows it: an expression whose value is {problems, axes}. Evaluated by
// check_report.py, which also counts pixels inside the axes.
(() => {
	const problems = [], axes = [];
	document.querySelectorAll("details").forEach(d => { d.open = true; });
	const scrolled = { x: scrollX, y: scrollY };
	const shown = e => e.getClientRects().length > 0;
	const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
		Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
	const where = e => e.closest("section")?.id ?? "the head";

	// A line of text is higher than its letters: only its middle counts.
	function letters(e) {
		const r = e.getBoundingClientRect(), spare = r.height * 0.18;
		return { left: r.left, right: r.right, top: r.top + spare, bottom: r.bottom - spare };
	}
	function luminance(color) {
		const [r, g, b] = color.match(/[\d.]+/g).map(v => v / 255)
			.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	}
	function contrast(a, b) {
		const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
		return (high + 0.05) / (low + 0.05);
	}

	function checkTexts(svg, name) {
		const frame = svg.getBoundingClientRect(), scale = frame.width / svg.viewBox.baseVal.width;
		const paper = getComputedStyle(document.body).backgroundColor;
		const texts = [...svg.querySelectorAll("text")].filter(t => t.textContent.trim());
		const boxes = texts.map(letters);
		texts.forEach((t, i) => {
			const style = getComputedStyle(t), size = parseFloat(style.fontSize) * scale, b = boxes[i];
			if (size < 9)
				problems.push(`${name}: "${t.textContent}" is ${size.toFixed(1)} px high`);
			if (b.left < frame.left - 1 || b.right > frame.right + 1 ||
			    b.top < frame.top - 1 || b.bottom > frame.bottom + 1)
				problems.push(`${name}: "${t.textContent}" reaches out of its picture`);
			if (contrast(style.fill, paper) < 4.5)
				problems.push(`${name}: "${t.textContent}" is hardly seen, ${style.fill} on ${paper}`);
			for (let j = 0; j < i; j++)
				if (overlap(b, boxes[j]))
					problems.push(`${name}: "${t.textContent}" lies on "${texts[j].textContent}"`);
		});
		if (!texts.length)
			problems.push(`${name}: a picture without any text`);
	}

	// Inside the axes, with an extent, as a path or a marker.
	function marks(group, box) {
		return [...group.querySelectorAll("g.data path, g.data use")].filter(e => {
			const r = e.getBoundingClientRect();
			const around = { left: r.left - 1, right: r.right + 1, top: r.top - 1, bottom: r.bottom + 1 };

			return !e.closest("defs") && r.width + r.height > 0.5 && overlap(around, box);
		}).length;
	}
	function checkAxes(svg, name) {
		const groups = [...svg.querySelectorAll("g.axes")];
		groups.forEach((group, i) => {
			const box = group.querySelector("path").getBoundingClientRect(), n = marks(group, box);
			if (!n && !group.querySelector("g.gap"))
				problems.push(`${name}: nothing is drawn in panel ${i + 1} of ${groups.length}`);
			axes.push({ name: `${name}, panel ${i + 1}`, marks: n, x: box.left + scrolled.x,
				y: box.top + scrolled.y, width: box.width, height: box.height });
		});
		if (!groups.length)
			problems.push(`${name}: a picture without axes`);
	}

	const sections = [...document.querySelectorAll("section")];
	for (const s of sections) {
		const svgs = [...s.querySelectorAll("figure svg")], seen = svgs.filter(shown);
		if (svgs.length && seen.length !== 1)
			problems.push(`${s.id}: ${seen.length} of its ${svgs.length} pictures are shown`);
		if (!svgs.length && !s.querySelector(".gap, table, p"))
			problems.push(`${s.id}: neither a picture nor a word`);
		for (const svg of seen) {
			checkTexts(svg, s.id);
			checkAxes(svg, s.id);
			const said = s.querySelector("figcaption p")?.textContent ?? "";
			if (!/[.]$/.test(said) || /undefined|null|None|nan\b/.test(said))
				problems.push(`${s.id}: no good sentence under it: "${said}"`);
			if (!/\d/.test(said))
				problems.push(`${s.id}: no figure in its sentence: "${said}"`);
		}
	}
	const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
	const twice = ids.filter((id, i) => ids.indexOf(id) !== i);
	if (twice.length)
		problems.push(`ids are not unique: ${twice.slice(0, 5)}`);
	// Not innerWidth: a phone zooms out from a page that is too wide.
	const { scrollWidth, clientWidth } = document.documentElement;
	if (scrollWidth > clientWidth)
		problems.push(`the page is ${scrollWidth} px wide, its window ${clientWidth}`);
	for (const cell of [...document.querySelectorAll("th, td")].filter(shown))
		if (cell.scrollWidth > cell.clientWidth + 1)
			problems.push(`${where(cell)}: "${cell.textContent}" is wider than its cell`);
	const matrix = [...document.querySelectorAll("body > table.matrix")].filter(shown);
	if (matrix.length !== 1 || matrix[0].getBoundingClientRect().bottom + scrolled.y > innerHeight)
		problems.push(`the table of verdicts is not wholly on the first screen, ${innerWidth}x${innerHeight}`);
	return { problems, axes };
})()
