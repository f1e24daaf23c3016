/** What a verb found or did, turned into a response: as frozen values for a direct asker, as bytes in the wanted format for others. */
import type { ApiResponse, WatchEvent } from "#api/request.ts";
import { deepFreeze } from "#machinery/decode.ts";
import type { ApiObject, ListMeta } from "#machinery/meta.ts";
import { badRequest, expired } from "#machinery/status-error.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { concat } from "./bytes.ts";
import type { ChainContext } from "./chain.ts";
import { encodeObject, joinJson } from "./encode.ts";
import {
  allowsMetaConversion,
  type Conversion,
  type MediaType,
  negotiate,
  protobufName,
} from "./media-type.ts";
import { canonical } from "./object-codec.ts";
import { protobufFrame } from "./protobuf-write.ts";
import type { Written } from "./registry.ts";
import type { ListResult } from "./registry-read.ts";
import { queryValue } from "./request-info.ts";
import type { ServedResource } from "./served-resource.ts";
import { partialMetadata, partialMetadataList, type TableOptions, tableOf } from "./table.ts";
import type { WatchOutput, WatchStream } from "./watch-stream.ts";

const encoder = new TextEncoder();
const comma = encoder.encode(",");
const listEnd = encoder.encode("]}");
const frameEnd = encoder.encode("}\n");
/** A list longer than this is sent in pieces. */
const wholeListBytesMax = 1024 * 1024;
const pieceBytes = 256 * 1024;

/** How the answer shall look. Settled before anything is done: what cannot be answered is not done. */
export interface Form {
  readonly mediaType: MediaType;
  readonly direct: boolean;
  readonly includeObject: TableOptions["includeObject"];
  readonly now: number;
}

/** Of what has no table: reviews, tokens, evictions. */
export const plainFormOf = (context: ChainContext, now: number): Form =>
  readForm(context, now, false, (asked) => asked.kind !== "Table" && allowsMetaConversion(asked));

export const formOf = (context: ChainContext, now: number, stream = false): Form =>
  readForm(context, now, stream, allowsMetaConversion);

function readForm(
  context: ChainContext,
  now: number,
  stream: boolean,
  allows: (asked: Conversion) => boolean,
): Form {
  const { request } = context;
  const mediaType = negotiate({
    accept: request.headers.accept,
    pretty: queryValue(request, "pretty"),
    userAgent: request.headers["user-agent"],
    allows,
    stream,
    isList: context.info.verb === "list",
    protobuf: context.protobuf,
  });
  const asked = queryValue(request, "includeObject") ?? "";
  const includeObject = asked === "" ? "Metadata" : asked;
  if (includeObject !== "None" && includeObject !== "Metadata" && includeObject !== "Object")
    throw badRequest(
      `unrecognized includeObject value: ${JSON.stringify(asked)}, expected None, Metadata or Object`,
    );
  return { mediaType, direct: request.direct, includeObject, now };
}

const tableOptions = (form: Form, as: Conversion): TableOptions => ({
  version: as.version,
  includeObject: form.includeObject,
  now: form.now,
});

/** Any object that is no stored one: a Status, a review, a Scale. */
export function answerPlain(status: number, object: object, form: Form): ApiResponse {
  if (form.direct)
    return { status, headers: {}, content: { type: "object", object: deepFreeze(object) } };
  const { bytes, contentType } = encodeObject(object, form.mediaType);
  return { status, headers: {}, content: { type: "bytes", mediaType: contentType, bytes } };
}

function converted(served: ServedResource, object: ApiObject, form: Form, as: Conversion): object {
  if (as.kind === "PartialObjectMetadata") return partialMetadata(object, as.version);
  if (as.kind !== "Table") throw badRequest(`a single object can not be shown as ${as.kind}`);
  const { resourceVersion = "" } = object.metadata;
  return tableOf(served.resource, [object], { resourceVersion }, tableOptions(form, as));
}

export function answerObject(
  status: number,
  served: ServedResource,
  written: Written,
  form: Form,
): ApiResponse {
  const { as, format, pretty } = form.mediaType;
  if (as !== undefined) {
    const object = converted(served, served.objectOfWritten(written), form, as);
    return answerPlain(status, object, form);
  }
  if (form.direct || format !== "json" || pretty || "wouldBe" in written)
    return answerPlain(status, served.objectOfWritten(written), form);
  const bytes = joinJson(served.jsonOf(written.stored));
  return {
    status,
    headers: {},
    content: { type: "bytes", mediaType: "application/json", bytes },
  };
}

const listMeta = (result: ListResult): ListMeta => ({
  resourceVersion: String(result.revision),
  ...(result.continue === undefined ? {} : { continue: result.continue }),
  ...(result.remaining === undefined ? {} : { remainingItemCount: result.remaining }),
});

export function answerList(served: ServedResource, result: ListResult, form: Form): ApiResponse {
  const metadata = listMeta(result);
  const { as, format, pretty } = form.mediaType;
  const objects = () => result.items.map((stored) => served.objectOf(stored));
  if (as?.kind === "Table") {
    const options = { ...tableOptions(form, as), isList: true };
    const table = tableOf(served.resource, objects(), metadata, options);
    return answerPlain(200, table, form);
  }
  if (as !== undefined)
    return answerPlain(200, partialMetadataList(objects(), metadata, as.version), form);
  const kind = served.resource.facts.listKind ?? `${served.resource.kind}List`;
  const head = { kind, apiVersion: served.apiVersion, metadata };
  // Who asks directly shares the objects as they are.
  if (form.direct) return answerPlain(200, { ...head, items: objects() }, form);
  if (format !== "json" || pretty) {
    const items = result.items.map((stored) => served.itemOf(stored));
    return answerPlain(200, { ...head, items }, form);
  }
  return splicedList(served, result, head);
}

/** The items' bytes as they are cached, between the list's own. */
function splicedList(served: ServedResource, result: ListResult, head: object): ApiResponse {
  const start = encoder.encode(`${JSON.stringify(head).slice(0, -1)},"items":[`);
  let at = 0;
  const nextPiece = (): readonly Bytes[] | undefined => {
    if (at > result.items.length) return undefined;
    const chunks: Bytes[] = at === 0 ? [start] : [];
    let size = 0;
    for (; at < result.items.length && size < pieceBytes; at++) {
      if (at > 0) chunks.push(comma);
      for (const chunk of served.itemJsonOf(result.items[at] as never)) {
        chunks.push(chunk);
        size += chunk.length;
      }
    }
    if (at === result.items.length) {
      chunks.push(listEnd, encoder.encode("\n"));
      at++;
    }
    return chunks;
  };
  const mediaType = "application/json";
  const whole: Bytes[] = [];
  let size = 0;
  for (let piece = nextPiece(); piece !== undefined; piece = nextPiece()) {
    for (const chunk of piece) {
      whole.push(chunk);
      size += chunk.length;
    }
    if (size > wholeListBytesMax) break;
  }
  const first = concat(whole);
  if (at > result.items.length)
    return { status: 200, headers: {}, content: { type: "bytes", mediaType, bytes: first } };
  let started = false;
  let stopped = false;
  const bytes: Source<Bytes> = {
    next() {
      if (stopped) return Promise.resolve(undefined);
      if (!started) {
        started = true;
        return Promise.resolve([first]);
      }
      const piece = nextPiece();
      return Promise.resolve(piece === undefined ? undefined : [concat(piece)]);
    },
    stop() {
      stopped = true;
    },
  };
  return { status: 200, headers: {}, content: { type: "stream", mediaType, bytes } };
}

/** What a bookmark carries: nothing but how far the watch has come. */
function bookmarkOf(served: ServedResource, revision: number, initialEnd: boolean): object {
  const annotations = initialEnd ? { "k8s.io/initial-events-end": "true" } : undefined;
  return {
    kind: served.resource.kind,
    apiVersion: served.apiVersion,
    metadata: {
      resourceVersion: String(revision),
      ...(annotations === undefined ? {} : { annotations }),
    },
  };
}

/** Turns what the stream tells into events of the wanted form. Columns of a table are told once. */
class EventForm {
  readonly #served: ServedResource;
  readonly #form: Form;
  #told = false;

  constructor(served: ServedResource, form: Form) {
    this.#served = served;
    this.#form = form;
  }

  event(output: WatchOutput): WatchEvent {
    if (output.type === "EXPIRED") {
      const message = `too old resource version: ${output.revision} (${output.oldest})`;
      return { type: "ERROR", object: deepFreeze(expired(message).status) };
    }
    if (output.type === "BOOKMARK") {
      const plain = bookmarkOf(this.#served, output.revision, output.initialEnd) as ApiObject;
      return { type: "BOOKMARK", object: deepFreeze(this.#shown(plain, true)) };
    }
    return { type: output.type, object: this.#shown(this.#served.objectOf(output.stored), false) };
  }

  #shown(object: ApiObject, bookmark: boolean): object {
    const { as } = this.#form.mediaType;
    if (as === undefined) return object;
    if (as.kind !== "Table") return partialMetadata(object, as.version);
    const { resourceVersion = "", annotations } = object.metadata;
    // Upstream: the row of a bookmark carries the metadata, for its annotations.
    const whole = bookmark ? canonical(this.#served.resource, object) : object;
    const rows = bookmark && annotations === undefined ? [] : [whole];
    const options = tableOptions(this.#form, as);
    const table = tableOf(this.#served.resource, rows, { resourceVersion }, options, !this.#told);
    this.#told = true;
    return deepFreeze(table);
  }

  /** The same for all who ask for protobuf, and for nothing else. */
  #protobufFrame(output: WatchOutput): Bytes {
    const make = (): Bytes => {
      const { type, object } = this.event(output);
      return protobufFrame(type, encodeObject(object, { format: "protobuf", pretty: false }).bytes);
    };
    const shared = "event" in output && this.#form.mediaType.as === undefined;
    if (!shared || output.event === undefined) return make();
    return output.event.frame(`${this.#served.id} ${output.type} protobuf`, make);
  }

  frame(output: WatchOutput): Bytes {
    const { as, pretty, format } = this.#form.mediaType;
    if (format === "protobuf") return this.#protobufFrame(output);
    if (as !== undefined || pretty || output.type === "BOOKMARK" || output.type === "EXPIRED")
      return encoder.encode(`${JSON.stringify(this.event(output))}\n`);
    const { type, stored, event } = output;
    const make = (): Bytes =>
      concat([
        encoder.encode(`{"type":"${type}","object":`),
        ...this.#served.jsonOf(stored),
        frameEnd,
      ]);
    return event === undefined ? make() : event.frame(`${this.#served.id} ${type}`, make);
  }
}

function mapped<A, B>(source: Source<A>, map: (one: A) => B): Source<B> {
  return {
    async next() {
      const batch = await source.next();
      return batch?.map(map);
    },
    stop: () => source.stop(),
  };
}

export function answerWatch(served: ServedResource, stream: WatchStream, form: Form): ApiResponse {
  const events = new EventForm(served, form);
  if (form.direct) {
    const content = {
      type: "watch",
      events: mapped(stream, (output) => events.event(output)),
    } as const;
    return { status: 200, headers: {}, content };
  }
  const bytes = mapped(stream, (output) => events.frame(output));
  const isProtobuf = form.mediaType.format === "protobuf";
  const mediaType = isProtobuf ? `${protobufName};stream=watch` : "application/json";
  return { status: 200, headers: {}, content: { type: "stream", mediaType, bytes } };
}
