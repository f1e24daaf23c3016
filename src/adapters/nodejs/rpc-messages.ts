/**
 * The messages of a .proto text, as plain objects: names in camel case, 64-bit numbers as numbers (rounded beyond 2^53), bytes
 * as Uint8Array, enums by number. What proto3 calls a default is filled in; absent messages, members of a oneof and
 * optional fields are left out.
 */
import protobuf from "protobufjs";

export interface RpcMethod {
  /** package.Service/Method. */
  readonly name: string;
  readonly encode: (request: object) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => object;
}

type Plain = Record<string, unknown>;
type Fill = (message: Readonly<Plain>, into: Plain) => void;

/** Looks methods up in `proto`. Throws at once if the text is not valid, later if there is no such method. */
export function rpcMethods(proto: string): (name: string) => RpcMethod {
  const { root, imports } = protobuf.parse(proto, { keepCase: false });
  for (const file of imports ?? []) {
    // google/protobuf/… comes with the parser; other files have to be part of the text.
    const known = protobuf.common.get(file)?.nested;
    if (known === undefined) throw new Error(`the .proto text imports ${file}, which is not known`);
    root.addJSON(known);
  }
  root.resolveAll();
  const methods = new Map<string, RpcMethod>();
  const shapes = new Map<protobuf.Type, readonly Fill[]>();
  return (name) => {
    const found = methods.get(name) ?? makeMethod(root, name, shapes);
    methods.set(name, found);
    return found;
  };
}

function makeMethod(
  root: protobuf.Root,
  name: string,
  shapes: Map<protobuf.Type, readonly Fill[]>,
): RpcMethod {
  const [service = "", method = ""] = name.split("/");
  const declared = root.lookupService(service).methods[method];
  const asked = declared?.resolvedRequestType;
  const answered = declared?.resolvedResponseType;
  if (!asked || !answered) throw new Error(`the .proto text declares no method ${name}`);
  return {
    name,
    encode: (request) => asked.encode(asked.fromObject(request)).finish(),
    decode: (bytes) => plain(answered, asPlain(answered.decode(bytes)), shapes),
  };
}

const asPlain = (value: object): Readonly<Plain> => value as Readonly<Plain>;

function plain(
  type: protobuf.Type,
  message: Readonly<Plain>,
  shapes: Map<protobuf.Type, readonly Fill[]>,
): Plain {
  let fills = shapes.get(type);
  if (fills === undefined) {
    fills = type.fieldsArray.map((field) => fillOf(field.resolve(), shapes));
    shapes.set(type, fills);
  }
  const result: Plain = {};
  for (const fill of fills) fill(message, result);
  return result;
}

function fillOf(field: protobuf.Field, shapes: Map<protobuf.Type, readonly Fill[]>): Fill {
  const { name, repeated } = field;
  const convert = convertOf(field, shapes);
  if (field instanceof protobuf.MapField) {
    return (message, into) => {
      const entries = Object.entries(asPlain(message[name] ?? {}));
      into[name] = Object.fromEntries(entries.map(([key, value]) => [key, convert(value)]));
    };
  }
  if (repeated) {
    return (message, into) => {
      const values: unknown = message[name];
      into[name] = Array.isArray(values) ? values.map(convert) : [];
    };
  }
  const isPresenceTold = field.partOf !== null || field.resolvedType instanceof protobuf.Type;
  return (message, into) => {
    const value = Object.hasOwn(message, name) ? message[name] : undefined;
    if (value !== undefined && value !== null) into[name] = convert(value);
    else if (!isPresenceTold) into[name] = defaultOf(field);
  };
}

function convertOf(
  field: protobuf.Field,
  shapes: Map<protobuf.Type, readonly Fill[]>,
): (value: unknown) => unknown {
  const { resolvedType, type } = field;
  if (resolvedType instanceof protobuf.Type) {
    return (value) => plain(resolvedType, value as Readonly<Plain>, shapes);
  }
  if (type === "bytes") return (value) => Uint8Array.from(value as Uint8Array);
  // Long objects, whose valueOf() is not a number.
  if (type.endsWith("64"))
    return (value) => (typeof value === "number" ? value : Number(String(value)));
  return (value) => value;
}

function defaultOf(field: protobuf.Field): unknown {
  if (field.type === "bytes") return new Uint8Array();
  if (field.type.endsWith("64") || field.resolvedType instanceof protobuf.Enum) return 0;
  return field.typeDefault;
}
