import { expect, test } from "vitest";
import { mountCall } from "./image-volumes.ts";

test("layers are named from the folder that they share", () => {
  const mount = {
    Type: "overlay",
    Source: "overlay",
    Options: ["index=off", "lowerdir=/data/root/snapshots/12/fs:/data/root/snapshots/3/fs"],
  };
  expect(mountCall(mount, "/t")).toEqual({
    args: ["-t", "overlay", "-o", "ro,index=off,lowerdir=12/fs:3/fs", "overlay", "/t"],
    folder: "/data/root/snapshots",
  });
});

test("layers of several folders keep their whole names", () => {
  const Options = ["lowerdir=/a/1/fs:/b/2/fs"];
  expect(mountCall({ Type: "overlay", Source: "overlay", Options }, "/t")).toEqual({
    args: ["-t", "overlay", "-o", "ro,lowerdir=/a/1/fs:/b/2/fs", "overlay", "/t"],
    folder: "/",
  });
});

test("a single layer is bound, and never to be written", () => {
  const bind = { Type: "bind", Source: "/data/1/fs", Options: ["rbind"] };
  expect(mountCall(bind, "/t")).toEqual({
    args: ["-o", "ro,rbind", "/data/1/fs", "/t"],
    folder: "/",
  });
});
