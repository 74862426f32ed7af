# Puts files into a binary: a C file with tables of their bytes (api/openapi/embedded.h), for the assembler's .incbin.

# embed_table(VARIABLE TABLE FILES...): adds the C text of a table of these files to VARIABLE.
function(embed_table variable table)
    set(bytes "")
    set(rows "")
    set(number 0)
    foreach(file ${ARGN})
        get_filename_component(name ${file} NAME)
        set(symbol ${table}_${number})
        math(EXPR number "${number} + 1")
        string(APPEND bytes "__asm__(\".section .rodata\\n${symbol}_begin: .incbin \\\"${file}\\\"\\n${symbol}_end: .byte 0\\n\"
        \".globl ${symbol}_begin, ${symbol}_end\\n.hidden ${symbol}_begin, ${symbol}_end\\n.text\");
extern const char ${symbol}_begin[], ${symbol}_end[];
")
        string(APPEND rows "    {\"${name}\", ${symbol}_begin, ${symbol}_end},\n")
    endforeach()
    set(${variable} "${${variable}}${bytes}const struct embedded ${table}[] = {
${rows}    {0, 0, 0},
};
" PARENT_SCOPE)
endfunction()
