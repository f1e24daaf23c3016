/** $(NAME) references in commands, arguments and environment values. Pure. */

/**
 * Replaces $(NAME) by its value. $$ is a literal dollar; a reference that `valueOf` does not know stays as it is.
 */
export function expand(text: string, valueOf: (name: string) => string | undefined): string {
  let out = "";
  let at = 0;
  while (at < text.length) {
    const dollar = text.indexOf("$", at);
    if (dollar < 0 || dollar === text.length - 1) return out + text.slice(at);
    out += text.slice(at, dollar);
    const next = text[dollar + 1];
    if (next === "$") {
      out += "$";
      at = dollar + 2;
    } else if (next === "(") {
      const end = text.indexOf(")", dollar + 2);
      if (end < 0) {
        // Upstream: an unclosed reference is kept as it stands.
        out += "$(";
        at = dollar + 2;
      } else {
        const name = text.slice(dollar + 2, end);
        out += valueOf(name) ?? `$(${name})`;
        at = end + 1;
      }
    } else {
      out += `$${next}`;
      at = dollar + 2;
    }
  }
  return out;
}
