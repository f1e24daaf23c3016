/** Links in a page of HTML, written anew: what a browser would ask for has to lead through the proxy. Pure text work. */

/** Attributes that hold an address, by element. */
const linkAttributes: Readonly<Record<string, readonly string[]>> = {
  a: ["href"],
  applet: ["codebase"],
  area: ["href"],
  audio: ["src"],
  base: ["href"],
  blockquote: ["cite"],
  body: ["background"],
  button: ["formaction"],
  command: ["icon"],
  del: ["cite"],
  embed: ["src"],
  form: ["action"],
  frame: ["longdesc", "src"],
  head: ["profile"],
  html: ["manifest"],
  iframe: ["longdesc", "src"],
  img: ["longdesc", "src", "usemap"],
  input: ["src", "usemap", "formaction"],
  ins: ["cite"],
  link: ["href"],
  object: ["classid", "codebase", "data", "usemap"],
  q: ["cite"],
  script: ["src"],
  source: ["src"],
  video: ["poster", "src"],
};
/** Elements whose content is text, whatever it looks like. */
const rawElements = new Set(["script", "style", "textarea", "title", "xmp", "iframe", "noframes"]);

const attribute = /([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?/gy;
const tagName = /[a-zA-Z][^\s/>]*/y;

const unescape = (text: string): string =>
  text.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&amp;", "&");
const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;");

/** The same page; each link that `rewrite` changes is changed, all else stays byte for byte. */
export function rewriteLinks(page: string, rewrite: (link: string) => string): string {
  let out = "";
  let copied = 0;
  let at = page.indexOf("<");
  while (at !== -1) {
    if (page.startsWith("<!--", at)) {
      const end = page.indexOf("-->", at + 4);
      if (end === -1) break;
      at = page.indexOf("<", end);
      continue;
    }
    tagName.lastIndex = at + 1;
    const name = tagName.exec(page)?.[0]?.toLowerCase();
    if (name === undefined) {
      at = page.indexOf("<", at + 1);
      continue;
    }
    const wanted = linkAttributes[name] ?? [];
    let position = at + 1 + name.length;
    while (position < page.length && page[position] !== ">") {
      attribute.lastIndex = position;
      const match = attribute.exec(page);
      if (match === null) {
        position += 1;
        continue;
      }
      const value = match[2] ?? match[3] ?? match[4];
      if (value !== undefined && wanted.includes((match[1] ?? "").toLowerCase())) {
        const link = unescape(value);
        const written = rewrite(link);
        if (written !== link) {
          out += `${page.slice(copied, position)}${match[1]}="${escape(written)}"`;
          copied = attribute.lastIndex;
        }
      }
      position = attribute.lastIndex;
    }
    if (rawElements.has(name)) {
      const end = page.slice(position).search(new RegExp(`</${name}[\\s/>]`, "i"));
      if (end === -1) break;
      position += end;
    }
    at = page.indexOf("<", position);
  }
  return out + page.slice(copied);
}

/** How an answer's links read from outside, where `prefix` leads to the server that gave it. */
export function linkThrough(prefix: string, ownHosts: readonly string[]): (link: string) => string {
  return (link) => {
    const match = /^(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?(?:\/\/([^/?#]*))?(\/[^?#]*)?(.*)$/s.exec(link);
    if (match === null) return link;
    const [, host, path = "", rest = ""] = match;
    const isOpaque = host === undefined && /^[a-zA-Z][a-zA-Z0-9+.-]*:/.test(link);
    if (isOpaque || path === "" || (host !== undefined && !ownHosts.includes(host))) return link;
    return path.startsWith(prefix) ? `${path}${rest}` : `${prefix}${path}${rest}`;
  };
}
