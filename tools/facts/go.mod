module wherry/tools/facts

go 1.26
