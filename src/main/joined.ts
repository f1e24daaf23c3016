/** What a joined machine keeps: where its cluster is, who it is there, its certificates. Files beside its data. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Identity } from "#cluster/certificates.ts";
import type { Joined, ServerAddress } from "#cluster/join.ts";
import type { ClusterFacts } from "#cluster/join-info.ts";
import type { ClusterPaths } from "./allotment.ts";

export interface JoinedFacts {
  readonly server: ServerAddress;
  readonly nodeName: string;
  readonly address: string;
  readonly facts: ClusterFacts;
}
export interface JoinedMachine extends JoinedFacts {
  readonly authority: string;
  readonly client: Identity;
  readonly serving: Identity;
}

const factsFile = (paths: ClusterPaths): string => join(paths.data, "joined.json");

function writeWhole(file: string, text: string, mode: number): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o711 });
  writeFileSync(`${file}.new`, text, { mode });
  renameSync(`${file}.new`, file);
}

export const isJoined = (paths: ClusterPaths): boolean => existsSync(factsFile(paths));

export function readJoined(paths: ClusterPaths): JoinedMachine | undefined {
  if (!isJoined(paths)) return undefined;
  const read = (file: string): string => readFileSync(join(paths.certificates, file), "utf8");
  const identity = (name: string): Identity => ({
    certificate: read(`${name}.crt`),
    privateKey: read(`${name}.key`),
  });
  return {
    ...(JSON.parse(readFileSync(factsFile(paths), "utf8")) as JoinedFacts),
    authority: read("ca.crt"),
    client: identity("kubelet"),
    serving: identity("kubelet-server"),
  };
}

export function keepIdentity(paths: ClusterPaths, name: string, identity: Identity): void {
  mkdirSync(paths.certificates, { recursive: true, mode: 0o700 });
  writeWhole(join(paths.certificates, `${name}.key`), identity.privateKey, 0o600);
  writeWhole(join(paths.certificates, `${name}.crt`), identity.certificate, 0o644);
}

/** The facts last: with them it counts as joined. */
export function keepJoined(paths: ClusterPaths, known: JoinedFacts, joined: Joined): void {
  mkdirSync(paths.certificates, { recursive: true, mode: 0o700 });
  writeWhole(join(paths.certificates, "ca.crt"), joined.authority, 0o644);
  keepIdentity(paths, "kubelet", joined.client);
  keepIdentity(paths, "kubelet-server", joined.server);
  writeWhole(factsFile(paths), `${JSON.stringify(known, null, 2)}\n`, 0o644);
}
