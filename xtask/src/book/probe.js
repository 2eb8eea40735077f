// Runs in each page while it is checked: takes the theme of the query, and tells the harness what runs over and what
// cannot be read. Not part of the book that readers get.
(() => {
  const query = new URLSearchParams(location.search);
  const root = document.documentElement;
  const name = location.pathname.split('/book/').pop();
  const setTheme = theme => {
    root.classList.remove('light', 'rust', 'coal', 'navy', 'ayu');
    root.classList.add(theme);
    for (const sheet of document.querySelectorAll('link[rel=stylesheet]')) {
      if (sheet.href.includes('tomorrow-night')) sheet.disabled = theme === 'light';
      if (/\/highlight[^/]*\.css/.test(sheet.href)) sheet.disabled = theme !== 'light';
    }
  };
  const numbers = colour => (colour.match(/[\d.]+/g) || []).map(Number);
  const luminance = colour => {
    const [r, g, b] = numbers(colour).map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const scrolls = element => {
    for (let above = element; above.tagName !== 'MAIN'; above = above.parentElement) {
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(above).overflowX)) return true;
    }
    return false;
  };
  const faults = theme => {
    const found = [];
    const width = root.clientWidth;
    const content = document.querySelector('main');
    if (content) {
      for (const element of content.querySelectorAll('*')) {
        const box = element.getBoundingClientRect();
        if (box.width > 0 && box.right > width + 1 && !scrolls(element.parentElement)) {
          found.push(`${element.tagName.toLowerCase()} runs over: ${Math.round(box.right)} of ${width} px: `
            + `${(element.textContent || '').trim().slice(0, 60)}`);
          break;
        }
      }
    }
    const ground = getComputedStyle(document.body).backgroundColor;
    const page = numbers(ground)[3] === 0 ? getComputedStyle(root).backgroundColor : ground;
    for (const text of document.querySelectorAll('main svg text')) {
      const ratio = contrast(getComputedStyle(text).fill, page);
      const size = parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a;
      if (size < 9) {
        found.push(`diagram text \`${text.textContent}\` is ${size.toFixed(1)} px small`);
        break;
      }
      if (ratio < 4.5) {
        found.push(`diagram text \`${text.textContent}\` has a contrast of ${ratio.toFixed(1)}`);
        break;
      }
    }
    for (const drawing of document.querySelectorAll('main svg.drawing')) {
      const room = drawing.getBoundingClientRect();
      const texts = [...drawing.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
      const outside = texts.find(([, box]) => box.left < room.left - 1 || box.right > room.right + 1
        || box.top < room.top - 1 || box.bottom > room.bottom + 1);
      if (outside) found.push(`diagram text \`${outside[0]}\` runs out of its drawing`);
      // Boxes of text are higher than their letters, so lines that stand close share some of it.
      const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.4 * Math.min(a.height, b.height);
      const over = texts.flatMap(([a, box], at) => texts.slice(at + 1).filter(([, other]) => meet(box, other))
        .map(([b]) => `diagram texts \`${a}\` and \`${b}\` lie over each other`));
      found.push(...over.slice(0, 1));
    }
    return found.map(fault => `${theme}, ${width} px: ${fault}`);
  };
  // A sheet that was disabled is loaded only when it is needed.
  const settled = async () => {
    const sheets = [...document.querySelectorAll('link[rel=stylesheet]')].filter(sheet => !sheet.disabled);
    for (let left = 100; left > 0 && sheets.some(sheet => !sheet.sheet); left--) {
      await new Promise(done => setTimeout(done, 10));
    }
  };
  const answer = async () => {
    if (query.get('theme')) setTheme(query.get('theme'));
    if (!query.has('probe')) return;
    const all = [];
    for (const theme of ['light', 'navy']) {
      setTheme(theme);
      await settled();
      all.push(...faults(theme));
    }
    const search = query.get('search');
    if (!search) return parent.postMessage({ name, faults: all }, '*');
    const results = () => [...document.querySelectorAll('#mdbook-searchresults a, #searchresults a')].map(a => a.textContent);
    const wait = left => {
      if (results().length > 0 || left === 0) {
        const titles = results();
        const expected = query.get('expect');
        const missed = titles.some(title => title.includes(expected))
          ? [] : [`the search for \`${search}\` does not find \`${expected}\`: ${titles.join('; ')}`];
        return parent.postMessage({ name, faults: all.concat(missed), titles }, '*');
      }
      setTimeout(() => wait(left - 1), 100);
    };
    wait(100);
  };
  addEventListener('load', () => setTimeout(answer, 0));
})();
