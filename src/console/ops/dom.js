// Elements from descriptions, and a page that is changed only where it differs from them: what has
// the focus keeps it, what is selected stays selected. No text ever becomes markup.

const SVG = "http://www.w3.org/2000/svg";
const KEY = Symbol("key");

// A description: attributes by their names; `key` tells a child from its brothers. Children are
// descriptions, texts or numbers; null and false are nothing.
export function h(tag, attributes, ...children) {
  const { key = null, ...rest } = attributes || {};
  const kept = children.flat(Infinity).filter((child) => child !== null && child !== false
    && child !== undefined && child !== "");
  return { tag, key, attributes: rest, children: kept };
}

// All that a description says, for filters.
export function textOf(description) {
  if (description === null || typeof description !== "object") return String(description ?? "");
  return description.children.map(textOf).join(" ");
}

// Makes the children of a node what is described.
export function render(parent, ...descriptions) {
  const wanted = descriptions.flat(Infinity).filter((each) => each !== null && each !== false);
  const known = new Map();
  const keys = new Set(wanted.map((each) => each.key).filter((key) => key !== undefined));
  for (const child of [...parent.childNodes]) {
    if (child[KEY] === undefined || child[KEY] === null) continue;
    if (keys.has(child[KEY])) known.set(child[KEY], child);
    else child.remove();
  }
  let cursor = parent.firstChild;
  for (const each of wanted) {
    let node = each.key ? known.get(each.key) : cursor;
    if (!node || !fits(node, each)) node = make(each, parent);
    if (node === cursor) cursor = cursor.nextSibling;
    else parent.insertBefore(node, cursor);
    update(node, each);
  }
  while (cursor) {
    const next = cursor.nextSibling;
    cursor.remove();
    cursor = next;
  }
}

function fits(node, description) {
  if (typeof description !== "object") return node.nodeType === Node.TEXT_NODE;
  return node.nodeType === Node.ELEMENT_NODE && node.localName === description.tag
    && (node[KEY] ?? null) === description.key;
}

function make(description, parent) {
  if (typeof description !== "object") return document.createTextNode("");
  const drawn = description.tag === "svg" || parent.namespaceURI === SVG;
  const node = drawn
    ? document.createElementNS(SVG, description.tag) : document.createElement(description.tag);
  node[KEY] = description.key;
  return node;
}

function update(node, description) {
  if (typeof description !== "object") {
    const text = String(description);
    if (node.data !== text) node.data = text;
    return;
  }
  const wanted = description.attributes;
  for (const name of node.getAttributeNames()) {
    if (wanted[name] === undefined || wanted[name] === null || wanted[name] === false) {
      node.removeAttribute(name);
    }
  }
  for (const [name, value] of Object.entries(wanted)) {
    if (value === undefined || value === null || value === false) continue;
    const text = value === true ? "" : String(value);
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
  render(node, description.children);
}

export const byId = (id) => document.getElementById(id);
