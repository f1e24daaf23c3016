/** Values as compose files write them: durations, sizes, shell words, ports. Each gives undefined for what it cannot read. */

/** "1m30s", "500ms", "2h" in seconds, rounded up. */
export function seconds(text: string): number | undefined {
  const units: Readonly<Record<string, number>> = {
    us: 1e-6,
    ms: 1e-3,
    s: 1,
    m: 60,
    h: 3600,
    d: 86_400,
  };
  let total = 0;
  let rest = text.trim();
  if (/^\d+$/.test(rest)) return Number(rest);
  if (rest === "") return undefined;
  while (rest !== "") {
    const match = /^(\d+(?:\.\d+)?)(us|ms|s|m|h|d)/.exec(rest);
    if (match === null) return undefined;
    total += Number(match[1]) * (units[match[2] ?? "s"] ?? 1);
    rest = rest.slice(match[0].length);
  }
  return Math.ceil(total);
}

/** "512m", "1.5gb", 1048576 as a Kubernetes quantity. Compose counts in powers of 1024. */
export function bytesQuantity(value: unknown): string | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)b?$/i.exec(String(value).trim());
  if (match === null) return undefined;
  const suffix: Readonly<Record<string, string>> = { "": "", k: "Ki", m: "Mi", g: "Gi", t: "Ti" };
  const unit = suffix[(match[2] ?? "").toLowerCase()] ?? "";
  if (match[1]?.includes(".") !== true) return `${match[1] ?? ""}${unit}`;
  const power = ["", "Ki", "Mi", "Gi", "Ti"].indexOf(unit);
  return String(Math.round(Number(match[1]) * 1024 ** power));
}

/** "0.5" processors as "500m". */
export function cpuQuantity(value: unknown): string | undefined {
  const number = Number(value);
  return Number.isFinite(number) && number > 0 ? `${Math.round(number * 1000)}m` : undefined;
}

/** Words of a shell line, with its quotes and backslashes. */
export function shellWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? "";
    if (quote === "'") {
      if (char === "'") quote = "";
      else word = (word ?? "") + char;
    } else if (char === "\\" && at + 1 < text.length) word = (word ?? "") + (text[++at] ?? "");
    else if (char === '"' || (char === "'" && quote === "")) {
      quote = quote === char ? "" : char;
      word ??= "";
    } else if (quote === "" && /\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? "") + char;
  }
  if (word !== undefined) words.push(word);
  return words;
}

export interface PortMapping {
  /** Undefined: reachable inside only, or at a port of the cluster's choice. */
  readonly published?: number;
  readonly target: number;
  readonly protocol: "TCP" | "UDP";
  readonly host?: string;
}

function range(text: string): number[] | undefined {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  const count = last - first + 1;
  if (first < 1 || last > 65_535 || count < 1 || count > 1000) return undefined;
  return Array.from({ length: count }, (_, i) => first + i);
}

/** "80", "8080:80", "127.0.0.1:8080:80/udp", "3000-3002:3000-3002". */
export function portMappings(text: string): PortMapping[] | undefined {
  const [whole = "", kind = "tcp"] = text.split("/");
  if (kind !== "tcp" && kind !== "udp") return undefined;
  const protocol = kind === "udp" ? "UDP" : "TCP";
  const parts = /^(?:(\[[^\]]+\]|[^:]+):)?(?:([\d-]*):)?([\d-]+)$/.exec(whole);
  if (parts === null) return undefined;
  let [, host, published, target = ""] = parts;
  if (host !== undefined && published === undefined && /^[\d-]+$/.test(host))
    [host, published] = [undefined, host];
  const targets = range(target);
  const outside = published === undefined || published === "" ? undefined : range(published);
  if (targets === undefined || (published && outside === undefined)) return undefined;
  if (outside !== undefined && outside.length !== targets.length) return undefined;
  return targets.map((port, i) => {
    const out = outside?.[i];
    return {
      target: port,
      protocol,
      ...(out === undefined ? {} : { published: out }),
      ...(host === undefined ? {} : { host }),
    };
  });
}

/** A name that Kubernetes takes: small letters, digits, dashes. */
export const kubernetesName = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63) || "app";
