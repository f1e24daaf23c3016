/**
 * Directories that the provisioner keeps on this node, one a volume: made and removed when the control plane asks through the
 * kubelet's server. Writes below one directory of its own, nowhere else.
 */
import { isDns1123Subdomain } from "#machinery/validation.ts";
import type { Host } from "#ports/host.ts";

/** Whoever the pod runs as may write. */
const directoryMode = 0o777;

export class LocalVolumes {
  readonly #directory: string;
  readonly #host: Host;

  constructor(directory: string, host: Host) {
    this.#directory = directory;
    this.#host = host;
  }

  /** Undefined: no name of a volume. */
  pathOf(name: string): string | undefined {
    return isDns1123Subdomain(name).length > 0 ? undefined : `${this.#directory}/${name}`;
  }

  /** Fine if it is there. */
  async make(path: string): Promise<void> {
    if ((await this.#host.stat(path)) !== undefined) return;
    await this.#host.makeDirectory(this.#directory, 0o755);
    await this.#host.makeDirectory(path, directoryMode);
    // The umask took bits away.
    await this.#host.setMode(path, directoryMode);
  }

  /** With all that is in it; fine if it is not there. */
  async remove(path: string): Promise<void> {
    await this.#host.remove(path);
  }
}
